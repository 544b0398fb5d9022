//! Files of a sandbox, as requests to its guest.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{EngineError, Entry, EntryKind, FileReason, Listing, PlannedFile, SandboxPath};
use crucible_guest::protocol::{self, Entries, Failure, FrameKind, ListRequest, ReadRequest, WriteRequest};

use super::errors::{file, protocol};
use super::frames::Frame;
use super::link::Ended;
use super::request;
use super::sandbox::Open;

/// How much of a file is written at once.
const WRITE_PIECE: usize = 256 * 1024;
/// How much of a file is asked for at once.
const READ_PIECE: u32 = 128 * 1024;
/// The most entries of a directory that are listed.
const ENTRIES_MAX: usize = 100_000;
/// How long a request about a file may take, and how much longer for each MiB of it. A guest that is alive takes
/// milliseconds; one that says nothing, or a byte at a time, must not keep its host waiting for ever.
pub(super) const FILE_TIMEOUT: Duration = Duration::from_secs(30);
const FILE_TIMEOUT_PER_MIB: Duration = Duration::from_secs(1);

/// How long it may take to move so many bytes.
pub(super) fn file_timeout(bytes: u64) -> Duration {
    let mebibytes = u32::try_from(bytes / (1024 * 1024)).unwrap_or(u32::MAX);
    FILE_TIMEOUT.saturating_add(FILE_TIMEOUT_PER_MIB.saturating_mul(mebibytes))
}

impl Open {
    /// Sends input files. They are not answered; the next command fails if one could not be written.
    pub(super) async fn put_inputs(&self, files: &[PlannedFile]) -> Result<(), EngineError> {
        if files.is_empty() {
            return Ok(());
        }
        let bytes = files.iter().map(|file| file.content.len() as u64).sum();
        let put = async {
            for file in files {
                let id = self.link.ask().id;
                self.remember().inputs.insert(id, file.path.to_string());
                let sent = self.send_file(id, &file.path, &file.content, file.executable, true).await;
                sent.map_err(|ended| self.why(ended, false))?;
            }
            Ok(())
        };
        self.within(file_timeout(bytes), "putting its files", put).await
    }

    async fn send_file(
        &self,
        id: u32,
        path: &SandboxPath,
        content: &[u8],
        executable: bool,
        quiet: bool,
    ) -> Result<(), Ended> {
        let name = request::path(path);
        let mode = if executable { 0o755 } else { 0o644 };
        let count = content.len().div_ceil(WRITE_PIECE).max(1);
        for index in 0..count {
            let start = index * WRITE_PIECE;
            let data = content.get(start..content.len().min(start + WRITE_PIECE)).unwrap_or_default();
            let piece =
                WriteRequest { first: index == 0, last: index + 1 == count, quiet, mode, path: &name, data };
            let head =
                request::encode(16 + name.len(), |writer| piece.encode_head(writer)).map_err(Ended::Error)?;
            self.link.send(FrameKind::Write, id, &head, data, &[]).await?;
        }
        Ok(())
    }

    /// Whether an input file has failed, without waiting for one to.
    pub(super) async fn check_inputs(&self) -> Result<(), EngineError> {
        let failed = self.link.take_unasked();
        match failed {
            Some(frame) => Err(self.input_failure(&frame)),
            None => Ok(()),
        }
    }

    /// Which input file failed, and why.
    pub(super) fn input_failure(&self, frame: &Frame) -> EngineError {
        let path = self.remember().inputs.get(&frame.id).cloned().unwrap_or_default();
        match Failure::decode(&frame.payload) {
            Ok(failure) => file(path, failure),
            Err(_) => protocol("its error is malformed", false),
        }
    }

    /// Asks about a file and waits for the answer of the right kind.
    async fn ask_about(
        &self,
        kind: FrameKind,
        payload: &[u8],
        path: &SandboxPath,
        wanted: FrameKind,
    ) -> Result<Frame, EngineError> {
        let question = self.link.ask();
        let asked = async {
            self.link.send(kind, question.id, payload, &[], &[]).await?;
            self.link.answer(&question).await
        };
        let frame = asked.await.map_err(|ended| self.why(ended, false))?;
        self.expect(frame, path, wanted)
    }

    fn expect(&self, frame: Frame, path: &SandboxPath, wanted: FrameKind) -> Result<Frame, EngineError> {
        if frame.kind == wanted {
            return Ok(frame);
        }
        match (frame.kind, Failure::decode(&frame.payload)) {
            (FrameKind::Failed, Ok(failure)) => Err(file(path.as_str(), failure)),
            _ => Err(protocol("it answers something else", false)),
        }
    }

    /// Writes a file.
    pub(super) async fn write(
        &self,
        path: &SandboxPath,
        content: &[u8],
        executable: bool,
    ) -> Result<(), EngineError> {
        let question = self.link.ask();
        let written = async {
            self.send_file(question.id, path, content, executable, false).await?;
            self.link.answer(&question).await
        };
        let frame = written.await.map_err(|ended| self.why(ended, false))?;
        self.expect(frame, path, FrameKind::Done).map(drop)
    }

    /// Reads a file of `limit` bytes at most.
    pub(super) async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        let name = request::path(path);
        let mut content = Vec::new();
        loop {
            // One byte more than wanted tells a file that fits from one that does not.
            let left = limit.saturating_add(1).saturating_sub(content.len() as u64);
            let length = u32::try_from(left).unwrap_or(READ_PIECE).min(READ_PIECE);
            let ask = ReadRequest { offset: content.len() as u64, length, path: &name };
            let payload = request::encode(32 + name.len(), |writer| ask.encode(writer))?;
            let frame = self.ask_about(FrameKind::Read, &payload, path, FrameKind::Data).await?;
            let Some((last, bytes)) = frame.payload.split_first() else {
                return Err(protocol("its data is malformed", false));
            };
            // Less than was asked for is the end of the file. So a guest cannot hand it out byte by byte.
            let sound =
                if *last == 1 { bytes.len() <= length as usize } else { bytes.len() == length as usize };
            if !sound || *last > 1 {
                return Err(protocol("its data is not what was asked for", false));
            }
            content.extend_from_slice(bytes);
            if content.len() as u64 > limit {
                return Err(EngineError::File { path: path.to_string(), reason: FileReason::TooLarge });
            }
            if *last == 1 {
                return Ok(content.into());
            }
        }
    }

    /// Lists a directory.
    pub(super) async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        let name = request::path(path);
        let malformed = |_| protocol("its entries are malformed", false);
        let mut entries = Vec::new();
        let mut cursor = 0;
        loop {
            let ask = ListRequest { cursor, path: &name };
            let payload = request::encode(32 + name.len(), |writer| ask.encode(writer))?;
            let frame = self.ask_about(FrameKind::List, &payload, path, FrameKind::Entries).await?;
            let mut page = Entries::decode(&frame.payload).map_err(malformed)?;
            let before = entries.len();
            while let Some(entry) = page.next_entry().map_err(malformed)? {
                if entries.len() == ENTRIES_MAX {
                    return Ok(Listing::new(entries, true));
                }
                let kind = match entry.kind {
                    protocol::EntryKind::File => EntryKind::File,
                    protocol::EntryKind::Directory => EntryKind::Directory,
                    protocol::EntryKind::Other => EntryKind::Other,
                };
                let name = Bytes::copy_from_slice(entry.name);
                entries.push(Entry::new(name, kind, entry.size, entry.mode & 0o111 != 0));
            }
            if page.next == 0 {
                return Ok(Listing::new(entries, false));
            }
            if entries.len() == before {
                return Err(protocol("its entries have no end", false));
            }
            cursor = page.next;
        }
    }
}
