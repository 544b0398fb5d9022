//! File requests of the host. All paths are resolved beneath a directory that the guest keeps open,
//! so that nothing that the target creates can redirect them.

use core::ffi::CStr;

use super::directory_entries::DirectoryEntries;
use super::host_channel::HostChannel;
use super::static_cell::StaticCell;
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{
    self, AT_SYMLINK_NOFOLLOW, Errno, Fd, FreeSpace, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL,
    O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY, PathName, Result, c_str, retry, split_path,
};
use crate::protocol::{
    EntryKind, EntryRef, FrameKind, ListRequest, PAYLOAD_MAX_TO_HOST, ReadRequest, Step,
    WireWriter, WriteRequest,
};

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;

/// The maximum number of bytes of a file in one frame.
const PIECE: usize = 128 * 1024;
/// The number of times that the guest removes an obstacle from the path of a new file before it
/// gives up.
const REPLACE_TRIES: u32 = 8;

static BUFFER: StaticCell<[u8; PIECE]> = StaticCell::new([0; PIECE]);

/// A file that arrives in pieces.
struct Upload {
    id: u32,
    file: Fd,
}

/// Executes the host's file requests.
pub(crate) struct FileServer {
    root: Fd,
    owner: Option<u32>,
    buffer: &'static mut [u8; PIECE],
    upload: Option<Upload>,
    /// The first failure to write an input file since the last command.
    input_failure: Option<StepError>,
}

impl FileServer {
    /// Opens the directory beneath which all paths are resolved. `owner` will own new files.
    pub(crate) fn open(directory: &CStr, owner: Option<u32>) -> Result<Self> {
        let root = sys::open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0)?;
        let Some(buffer) = BUFFER.take() else { return Err(Errno::BUSY) };
        Ok(Self { root, owner, buffer, upload: None, input_failure: None })
    }

    /// Releases the static memory for the next guest.
    ///
    /// # Safety
    ///
    /// As for [`StaticCell::give_back`].
    pub(crate) unsafe fn give_back() {
        // SAFETY: the caller's promise.
        unsafe { BUFFER.give_back() };
    }

    /// Returns the free space of the file system.
    pub(crate) fn free_space(&self) -> Option<FreeSpace> {
        sys::free_space(self.root).ok()
    }

    /// Returns the failure to write an input file of the next command, if there was one.
    pub(crate) fn take_input_failure(&mut self) -> StepResult<()> {
        match self.input_failure.take() {
            Some(StepError(_, error)) => Err(StepError(Step::INPUT, error)),
            None => Ok(()),
        }
    }

    /// Writes a piece of a file. A failed quiet request fails the next command.
    pub(crate) fn write(
        &mut self,
        channel: HostChannel,
        id: u32,
        payload: &[u8],
    ) -> StepResult<()> {
        let request = WriteRequest::decode(payload).map_err(|_| StepError::MALFORMED)?;
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
                channel.send(FrameKind::Done, id, &[], &[], None).at(Step::WRITE)?;
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
            // A piece of a file whose failure the host already knows.
            _ => return Err(Errno::INVAL),
        };
        let mut rest = request.data;
        while !rest.is_empty() {
            let count = retry(|| sys::write(file, rest))?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Creates a file and the directories above it. Replaces an existing file.
    fn create(&self, path: &CStr, mode: u32) -> Result<Fd> {
        let (directories, name) = split_path(path);
        let name = PathName::new(name)?;
        let parent = self.make_directories(directories)?;
        let made = self.create_in(parent, name.as_c_str()?, mode);
        if parent != self.root {
            sys::close(parent);
        }
        made
    }

    fn create_in(&self, parent: Fd, name: &CStr, mode: u32) -> Result<Fd> {
        for _ in 0..REPLACE_TRIES {
            // O_EXCL: never through a link, and never into a file that another process has open.
            match sys::open_beneath(parent, name, O_WRONLY | O_CREAT | O_EXCL, 0o600) {
                Ok(file) => {
                    return self
                        .give_to_target(file, mode)
                        .map(|()| file)
                        .inspect_err(|_| sys::close(file));
                }
                Err(Errno::EXIST) => sys::unlink_at(parent, name)?,
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EXIST)
    }

    /// Makes the target the owner of a file.
    fn give_to_target(&self, file: Fd, mode: u32) -> Result<()> {
        sys::fchmod(file, mode)?;
        match self.owner {
            Some(owner) => sys::fchown(file, owner, owner),
            None => Ok(()),
        }
    }

    /// Opens a directory beneath the root, one name at a time, and creates missing ones.
    fn make_directories(&self, directories: Option<&[u8]>) -> Result<Fd> {
        let mut at = self.root;
        for name in directories.into_iter().flat_map(|path| path.split(|byte| *byte == b'/')) {
            let next =
                PathName::new(name).and_then(|name| self.make_directory(at, name.as_c_str()?));
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
            self.give_to_target(directory, 0o755).inspect_err(|_| sys::close(directory))?;
        }
        Ok(directory)
    }

    /// Sends a piece of a regular file. Opening never blocks, whichever kind of file it is.
    pub(crate) fn read(&mut self, channel: HostChannel, id: u32, payload: &[u8]) -> StepResult<()> {
        let request = ReadRequest::decode(payload).map_err(|_| StepError::MALFORMED)?;
        let path = c_str(request.path).at(Step::READ)?;
        let file = sys::open_beneath(self.root, path, O_RDONLY | O_NONBLOCK, 0).at(Step::READ)?;
        let sent = self.send_piece(channel, id, file, &request);
        sys::close(file);
        sent.at(Step::READ)
    }

    fn send_piece(
        &mut self,
        channel: HostChannel,
        id: u32,
        file: Fd,
        request: &ReadRequest<'_>,
    ) -> Result<()> {
        match sys::fstat(file)?.mode & S_IFMT {
            S_IFREG => {}
            S_IFDIR => return Err(Errno::ISDIR),
            // FIFOs, sockets and devices.
            _ => return Err(Errno::INVAL),
        }
        let wanted = usize::try_from(request.length).unwrap_or(PIECE).min(PIECE);
        let mut filled = 0;
        let mut last = false;
        while filled < wanted && !last {
            let rest = self.buffer.get_mut(filled..wanted).unwrap_or_default();
            let offset = request.offset.saturating_add(filled as u64);
            match retry(|| sys::pread(file, rest, offset))? {
                0 => last = true,
                count => filled += count,
            }
        }
        let bytes = self.buffer.get(..filled).unwrap_or_default();
        channel.send(FrameKind::Data, id, &[u8::from(last)], bytes, None)
    }

    /// Sends as many entries of a directory as fit into a frame.
    pub(crate) fn list(&mut self, channel: HostChannel, id: u32, payload: &[u8]) -> StepResult<()> {
        let request = ListRequest::decode(payload).map_err(|_| StepError::MALFORMED)?;
        let path = c_str(request.path).at(Step::LIST)?;
        let directory =
            sys::open_beneath(self.root, path, O_RDONLY | O_DIRECTORY, 0).at(Step::LIST)?;
        let sent = self.send_entries(channel, id, directory, request.cursor);
        sys::close(directory);
        sent.at(Step::LIST)
    }

    fn send_entries(
        &mut self,
        channel: HostChannel,
        id: u32,
        directory: Fd,
        cursor: u64,
    ) -> Result<()> {
        const { assert!(PIECE < PAYLOAD_MAX_TO_HOST) };
        sys::seek(directory, cursor)?;
        let mut next = cursor;
        let mut dents = [0; 8 * 1024];
        let mut writer = WireWriter::new(self.buffer.as_mut_slice());
        // The length of the complete entries: an entry that does not fit leaves a part of itself.
        let mut complete = 0;
        let full = 'fill: loop {
            let count = sys::getdents(directory, &mut dents)?;
            if count == 0 {
                break false;
            }
            for dirent in DirectoryEntries::new(dents.get(..count).unwrap_or_default()) {
                if !matches!(dirent.name, b"." | b"..") {
                    let Some(entry) = describe(directory, dirent.name)? else { continue };
                    if entry.encode(&mut writer).is_err() {
                        break 'fill true;
                    }
                    complete = writer.len();
                }
                next = dirent.next;
            }
        };
        // 0 means that these are the last entries.
        let next = if full { next } else { 0 };
        let entries = writer.written().get(..complete).unwrap_or_default();
        channel.send(FrameKind::Entries, id, &next.to_le_bytes(), entries, None)
    }
}

/// Returns the description of an entry; `None` if it was removed meanwhile.
fn describe(directory: Fd, name: &[u8]) -> Result<Option<EntryRef<'_>>> {
    let stat = match sys::stat_at(directory, PathName::new(name)?.as_c_str()?, AT_SYMLINK_NOFOLLOW)
    {
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
