//! Files of the sandbox, for the host: written and read beneath a directory that is held open, whatever the target has
//! put in the way.

use core::ffi::CStr;

use super::control::Control;
use super::errno::{Errno, Result, retry};
use super::memory::Once;
use super::path::{Name, c_str, split};
use super::spawn::{At as _, StepError};
use super::sys::{
    self, AT_SYMLINK_NOFOLLOW, Fd, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NONBLOCK, O_PATH,
    O_RDONLY, O_WRONLY, Room,
};
use super::usage::Directory;
use crate::protocol::{
    EntryKind, EntryRef, FrameKind, ListRequest, PAYLOAD_MAX_TO_HOST, ReadRequest, Step,
    WireWriter, WriteRequest,
};

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;

/// How much of a file is sent at once.
const PIECE: usize = 128 * 1024;
/// How often something may appear in the place of a file that is being made.
const REPLACE_TRIES: u32 = 8;

static BUFFER: Once<[u8; PIECE]> = Once::new([0; PIECE]);

/// A file that comes in pieces.
struct Upload {
    id: u32,
    file: Fd,
}

/// File requests.
pub(crate) struct Files {
    root: Fd,
    owner: Option<u32>,
    buffer: &'static mut [u8; PIECE],
    upload: Option<Upload>,
    /// The first input file that could not be written since the last command.
    input_failure: Option<StepError>,
}

impl Files {
    pub(crate) fn open(directory: &CStr, owner: Option<u32>) -> Result<Self> {
        let root = sys::open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0)?;
        let Some(buffer) = BUFFER.take() else { return Err(Errno::BUSY) };
        Ok(Self { root, owner, buffer, upload: None, input_failure: None })
    }

    /// What was taken may be taken again.
    ///
    /// # Safety
    /// As for [`Once::give_back`].
    pub(crate) unsafe fn give_back() {
        // SAFETY: the caller's promise.
        unsafe { BUFFER.give_back() };
    }

    /// What is left of the file system.
    pub(crate) fn room(&self) -> Option<Room> {
        sys::room(self.root).ok()
    }

    /// Fails if a file that was to be there before the command could not be written.
    pub(crate) fn take_input_failure(&mut self) -> core::result::Result<(), StepError> {
        match self.input_failure.take() {
            Some(StepError(_, error)) => Err(StepError(Step::INPUT, error)),
            None => Ok(()),
        }
    }

    /// Writes a piece of a file. The next command depends on quiet ones.
    pub(crate) fn write(
        &mut self,
        control: Control,
        id: u32,
        payload: &[u8],
    ) -> core::result::Result<(), StepError> {
        let request =
            WriteRequest::decode(payload).map_err(|_| StepError(Step::REQUEST, Errno::PROTO))?;
        if request.quiet && self.input_failure.is_some() {
            return Ok(());
        }
        let written = self.write_piece(id, &request).at(Step::WRITE);
        if let Err(error) = written {
            self.drop_upload();
            if request.quiet {
                self.input_failure = Some(error);
            }
            return Err(error);
        }
        if request.last {
            self.drop_upload();
            if !request.quiet {
                control.send(FrameKind::Done, id, &[], &[], None).at(Step::WRITE)?;
            }
        }
        Ok(())
    }

    fn drop_upload(&mut self) {
        if let Some(upload) = self.upload.take() {
            sys::close(upload.file);
        }
    }

    fn write_piece(&mut self, id: u32, request: &WriteRequest<'_>) -> Result<()> {
        if request.first {
            self.drop_upload();
            let file = self.create(c_str(request.path)?, request.mode)?;
            self.upload = Some(Upload { id, file });
        }
        let file = match &self.upload {
            Some(upload) if upload.id == id => upload.file,
            // A piece of a file that failed: the first failure was told.
            _ => return Err(Errno::INVAL),
        };
        let mut rest = request.data;
        while !rest.is_empty() {
            let count = retry(|| sys::write(file, rest))?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Makes a file, in place of one that is there, and the directories above it.
    fn create(&self, path: &CStr, mode: u32) -> Result<Fd> {
        let (directories, name) = split(path);
        let name = Name::new(name)?;
        let parent = self.make_directories(directories)?;
        let made = self.create_in(parent, name.as_c_str()?, mode);
        if parent != self.root {
            sys::close(parent);
        }
        made
    }

    fn create_in(&self, parent: Fd, name: &CStr, mode: u32) -> Result<Fd> {
        for _ in 0..REPLACE_TRIES {
            // O_EXCL: never through a link, never into a file that somebody else holds open.
            match sys::open_beneath(parent, name, O_WRONLY | O_CREAT | O_EXCL, 0o600) {
                Ok(file) => {
                    return self.give(file, mode).map(|()| file).inspect_err(|_| sys::close(file));
                }
                Err(Errno::EXIST) => sys::unlink_at(parent, name)?,
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EXIST)
    }

    /// The file belongs to the target from now on.
    fn give(&self, file: Fd, mode: u32) -> Result<()> {
        sys::fchmod(file, mode)?;
        match self.owner {
            Some(owner) => sys::fchown(file, owner, owner),
            None => Ok(()),
        }
    }

    /// Opens a directory beneath the root, making what is missing, one name at a time.
    fn make_directories(&self, directories: Option<&[u8]>) -> Result<Fd> {
        let mut at = self.root;
        for name in directories.into_iter().flat_map(|path| path.split(|byte| *byte == b'/')) {
            let next = Name::new(name).and_then(|name| self.make_directory(at, name.as_c_str()?));
            if at != self.root {
                sys::close(at);
            }
            at = next?;
        }
        Ok(at)
    }

    fn make_directory(&self, parent: Fd, name: &CStr) -> Result<Fd> {
        let made = match sys::mkdir_at(parent, name, 0o755) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error),
        };
        let directory = sys::open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0)?;
        if made {
            self.give(directory, 0o755).inspect_err(|_| sys::close(directory))?;
        }
        Ok(directory)
    }

    /// Sends a piece of a regular file. Opening never blocks, whatever is there.
    pub(crate) fn read(
        &mut self,
        control: Control,
        id: u32,
        payload: &[u8],
    ) -> core::result::Result<(), StepError> {
        let request =
            ReadRequest::decode(payload).map_err(|_| StepError(Step::REQUEST, Errno::PROTO))?;
        let path = c_str(request.path).at(Step::READ)?;
        let file = sys::open_beneath(self.root, path, O_RDONLY | O_NONBLOCK, 0).at(Step::READ)?;
        let sent = self.send_piece(control, id, file, &request);
        sys::close(file);
        sent.at(Step::READ)
    }

    fn send_piece(
        &mut self,
        control: Control,
        id: u32,
        file: Fd,
        request: &ReadRequest<'_>,
    ) -> Result<()> {
        match sys::fstat(file)?.mode & S_IFMT {
            S_IFREG => {}
            S_IFDIR => return Err(Errno::ISDIR),
            // What the host is told for a FIFO, a socket or a device.
            _ => return Err(Errno::INVAL),
        }
        let wanted = usize::try_from(request.length).unwrap_or(PIECE).min(PIECE);
        let mut filled = 0;
        let mut last = false;
        while filled < wanted && !last {
            let room = self.buffer.get_mut(filled..wanted).unwrap_or_default();
            let offset = request.offset.saturating_add(filled as u64);
            match retry(|| sys::pread(file, room, offset))? {
                0 => last = true,
                count => filled += count,
            }
        }
        let bytes = self.buffer.get(..filled).unwrap_or_default();
        control.send(FrameKind::Data, id, &[u8::from(last)], bytes, None)
    }

    /// Sends entries of a directory, as many as fit.
    pub(crate) fn list(
        &mut self,
        control: Control,
        id: u32,
        payload: &[u8],
    ) -> core::result::Result<(), StepError> {
        let request =
            ListRequest::decode(payload).map_err(|_| StepError(Step::REQUEST, Errno::PROTO))?;
        let path = c_str(request.path).at(Step::LIST)?;
        let directory =
            sys::open_beneath(self.root, path, O_RDONLY | O_DIRECTORY, 0).at(Step::LIST)?;
        let sent = self.send_entries(control, id, directory, request.cursor);
        sys::close(directory);
        sent.at(Step::LIST)
    }

    fn send_entries(
        &mut self,
        control: Control,
        id: u32,
        directory: Fd,
        cursor: u64,
    ) -> Result<()> {
        const { assert!(PIECE < PAYLOAD_MAX_TO_HOST) };
        sys::seek(directory, cursor)?;
        let mut next = cursor;
        let mut dents = [0; 8 * 1024];
        let mut writer = WireWriter::new(self.buffer.as_mut_slice());
        // An entry that does not fit leaves its beginning in the buffer.
        let mut whole = 0;
        let full = 'fill: loop {
            let count = sys::getdents(directory, &mut dents)?;
            if count == 0 {
                break false;
            }
            for entry in Directory::new(dents.get(..count).unwrap_or_default()) {
                if !matches!(entry.name, b"." | b"..") {
                    let Some(found) = describe(directory, entry.name)? else { continue };
                    if found.encode(&mut writer).is_err() {
                        break 'fill true;
                    }
                    whole = writer.len();
                }
                next = entry.next;
            }
        };
        // A place that is 0 would begin anew: after the last entry of a directory there is none.
        let next = if full { next } else { 0 };
        let entries = writer.written().get(..whole).unwrap_or_default();
        control.send(FrameKind::Entries, id, &next.to_le_bytes(), entries, None)
    }
}

/// What an entry is; `None` if it has just gone.
fn describe(directory: Fd, name: &[u8]) -> Result<Option<EntryRef<'_>>> {
    let stat = match sys::stat_at(directory, Name::new(name)?.as_c_str()?, AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = match stat.mode & S_IFMT {
        S_IFREG => EntryKind::File,
        S_IFDIR => EntryKind::Directory,
        _ => EntryKind::Other,
    };
    Ok(Some(EntryRef { kind, mode: stat.mode & 0o7777, size: stat.size, name }))
}
