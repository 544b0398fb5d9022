//! Files of a sandbox, as requests to its guest.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{EngineError, DirEntry, EntryKind, FileReason, Listing, PlannedFile, SandboxPath};
use crucible_guest::protocol::{
    self, Entries, Failure, FrameKind, ListRequest, ReadRequest, WriteRequest,
};

use crate::channel::{Channel, ChannelExt as _};
use crate::desk::Disconnected;
use crate::errors::{file, protocol, why};
use crate::frames::Frame;
use crate::request;

/// How much of a file is written at once.
const WRITE_PIECE: usize = 256 * 1024;
/// How much of a file is asked for at once.
const READ_PIECE: u32 = 128 * 1024;
/// The most entries of a directory that are listed.
const ENTRIES_MAX: usize = 100_000;
/// How long a request about a file may take. A guest that is alive takes milliseconds; one that says nothing, or a byte at a
/// time, must not keep its host waiting for ever.
pub const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer for each MiB of it.
const FILE_TIMEOUT_PER_MIB: Duration = Duration::from_secs(1);

/// How long it may take to move so many bytes.
#[must_use]
pub fn file_timeout(bytes: u64) -> Duration {
    let mebibytes = u32::try_from(bytes / (1024 * 1024)).unwrap_or(u32::MAX);
    FILE_TIMEOUT.saturating_add(FILE_TIMEOUT_PER_MIB.saturating_mul(mebibytes))
}

/// How long it may take to put these files.
#[must_use]
pub fn inputs_timeout(files: &[PlannedFile]) -> Duration {
    file_timeout(files.iter().map(|file| file.content.len() as u64).sum())
}

/// Sends input files. They are not answered; the next command fails if one could not be written.
///
/// # Errors
/// The infrastructure failed.
pub async fn put_inputs(channel: &impl Channel, files: &[PlannedFile]) -> Result<(), EngineError> {
    for file in files {
        let id = channel.desk().ask().id();
        channel.desk().note_input(id, file.path.to_string());
        let sent = send_file(channel, id, &file.path, &file.content, file.executable, true).await;
        sent.map_err(|ended| why(ended, false))?;
    }
    Ok(())
}

async fn send_file(
    channel: &impl Channel,
    id: u32,
    path: &SandboxPath,
    content: &[u8],
    executable: bool,
    quiet: bool,
) -> Result<(), Disconnected> {
    let name = request::path(path);
    let mode = if executable { 0o755 } else { 0o644 };
    let count = content.len().div_ceil(WRITE_PIECE).max(1);
    for index in 0..count {
        let start = index * WRITE_PIECE;
        let data = content.get(start..content.len().min(start + WRITE_PIECE)).unwrap_or_default();
        let piece = WriteRequest {
            first: index == 0,
            last: index + 1 == count,
            quiet,
            mode,
            path: &name,
            data,
        };
        let head = request::encode(16 + name.len(), |writer| piece.encode_head(writer))
            .map_err(Disconnected::Error)?;
        channel.send(FrameKind::Write, id, &head, data).await?;
    }
    Ok(())
}

/// Whether an input file has failed, without waiting for one to.
///
/// # Errors
/// The one that has.
pub fn check_inputs(channel: &impl Channel) -> Result<(), EngineError> {
    match channel.desk().take_unasked() {
        Some(frame) => Err(input_failure(channel, &frame)),
        None => Ok(()),
    }
}

/// Which input file failed, and why.
pub(crate) fn input_failure(channel: &impl Channel, frame: &Frame) -> EngineError {
    let path = channel.desk().input(frame.id).unwrap_or_default();
    match Failure::decode(&frame.payload) {
        Ok(failure) => file(path, failure),
        Err(_) => protocol("its error is malformed", false),
    }
}

/// Asks about a file and waits for the answer of the right kind.
async fn ask_about(
    channel: &impl Channel,
    kind: FrameKind,
    payload: &[u8],
    path: &SandboxPath,
    wanted: FrameKind,
) -> Result<Frame, EngineError> {
    let question = channel.desk().ask();
    let asked = async {
        channel.send(kind, question.id(), payload, &[]).await?;
        channel.answer(&question).await
    };
    let frame = asked.await.map_err(|ended| why(ended, false))?;
    expect(frame, path, wanted)
}

fn expect(frame: Frame, path: &SandboxPath, wanted: FrameKind) -> Result<Frame, EngineError> {
    if frame.kind == wanted {
        return Ok(frame);
    }
    match (frame.kind, Failure::decode(&frame.payload)) {
        (FrameKind::Failed, Ok(failure)) => Err(file(path.as_str(), failure)),
        _ => Err(protocol("it answers something else", false)),
    }
}

/// Writes a file.
///
/// # Errors
/// [`EngineError::File`], or the infrastructure failed.
pub async fn write(
    channel: &impl Channel,
    path: &SandboxPath,
    content: &[u8],
    executable: bool,
) -> Result<(), EngineError> {
    let question = channel.desk().ask();
    let written = async {
        send_file(channel, question.id(), path, content, executable, false).await?;
        channel.answer(&question).await
    };
    let frame = written.await.map_err(|ended| why(ended, false))?;
    expect(frame, path, FrameKind::Done).map(drop)
}

/// Reads a file of `limit` bytes at most.
///
/// # Errors
/// [`EngineError::File`], or the infrastructure failed.
pub async fn read(
    channel: &impl Channel,
    path: &SandboxPath,
    limit: u64,
) -> Result<Bytes, EngineError> {
    let name = request::path(path);
    let mut content = Vec::new();
    loop {
        // One byte more than wanted tells a file that fits from one that does not.
        let left = limit.saturating_add(1).saturating_sub(content.len() as u64);
        let length = u32::try_from(left).unwrap_or(READ_PIECE).min(READ_PIECE);
        let ask = ReadRequest { offset: content.len() as u64, length, path: &name };
        let payload = request::encode(32 + name.len(), |writer| ask.encode(writer))?;
        let frame = ask_about(channel, FrameKind::Read, &payload, path, FrameKind::Data).await?;
        let Some((last, bytes)) = frame.payload.split_first() else {
            return Err(protocol("its data is malformed", false));
        };
        // Less than was asked for is the end of the file. So a guest cannot hand it out byte by byte.
        let sound = if *last == 1 {
            bytes.len() <= length as usize
        } else {
            bytes.len() == length as usize
        };
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
///
/// # Errors
/// [`EngineError::File`], or the infrastructure failed.
pub async fn list(channel: &impl Channel, path: &SandboxPath) -> Result<Listing, EngineError> {
    let name = request::path(path);
    let malformed = |_| protocol("its entries are malformed", false);
    let mut entries = Vec::new();
    let mut cursor = 0;
    loop {
        let ask = ListRequest { cursor, path: &name };
        let payload = request::encode(32 + name.len(), |writer| ask.encode(writer))?;
        let frame = ask_about(channel, FrameKind::List, &payload, path, FrameKind::Entries).await?;
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
            entries.push(DirEntry::new(name, kind, entry.size, entry.mode & 0o111 != 0));
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
