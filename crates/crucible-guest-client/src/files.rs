//! Requests to the guest about files of its sandbox.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    DirEntry, EngineError, EntryKind, FileReason, Listing, PlannedFile, SandboxPath,
};
use crucible_guest::protocol::{
    self, Entries, Failure, FrameKind, ListRequest, ReadRequest, WriteRequest,
};

use crate::channel::{Channel, ChannelExt as _};
use crate::errors::{Disconnected, file, protocol};
use crate::frame_decoder::Frame;
use crate::request;

/// The maximum size of one write request.
const WRITE_PIECE: usize = 256 * 1024;
/// The maximum size of one read request.
const READ_PIECE: u32 = 128 * 1024;
/// The maximum number of listed directory entries.
const ENTRIES_MAX: usize = 100_000;
/// The base time limit of a request about a file. A healthy guest takes milliseconds. A guest that
/// sends nothing, or a byte at a time, must not block the host forever.
pub const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// The additional time for each MiB of the file.
const FILE_TIMEOUT_PER_MIB: Duration = Duration::from_secs(1);

/// Returns the time limit for a transfer of this many bytes.
#[must_use]
pub fn file_timeout(bytes: u64) -> Duration {
    let mebibytes = u32::try_from(bytes / (1024 * 1024)).unwrap_or(u32::MAX);
    FILE_TIMEOUT.saturating_add(FILE_TIMEOUT_PER_MIB.saturating_mul(mebibytes))
}

/// Returns the time limit for a transfer of these files.
#[must_use]
pub fn inputs_timeout(files: &[PlannedFile]) -> Duration {
    file_timeout(files.iter().map(|file| file.content.len() as u64).sum())
}

/// Sends input files. The guest does not respond to them. The next command fails if a file could
/// not be written.
///
/// # Errors
/// Returns an error if the infrastructure failed.
pub async fn put_inputs(channel: &impl Channel, files: &[PlannedFile]) -> Result<(), EngineError> {
    for file in files {
        let id = channel.router().open_request().id();
        channel.router().record_input(id, file.path.to_string());
        let sent = send_file(channel, id, &file.path, &file.content, file.executable, true).await;
        sent.map_err(|disconnected| disconnected.into_error(false))?;
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

/// Checks whether an input file has failed, without waiting.
///
/// # Errors
/// Returns the error of the first file that failed.
pub fn check_inputs(channel: &impl Channel) -> Result<(), EngineError> {
    match channel.router().take_quiet_failure() {
        Some(frame) => Err(input_failure(channel, &frame)),
        None => Ok(()),
    }
}

/// Returns the error of an input file that failed.
pub(crate) fn input_failure(channel: &impl Channel, frame: &Frame) -> EngineError {
    let path = channel.router().input(frame.id).unwrap_or_default();
    match Failure::decode(&frame.payload) {
        Ok(failure) => file(path, failure),
        Err(_) => protocol("its error is malformed", false),
    }
}

/// Sends a request about a file and waits for a response of the expected kind.
async fn request_file(
    channel: &impl Channel,
    kind: FrameKind,
    payload: &[u8],
    path: &SandboxPath,
    expected: FrameKind,
) -> Result<Frame, EngineError> {
    let request = channel.router().open_request();
    let response = async {
        channel.send(kind, request.id(), payload, &[]).await?;
        channel.response(&request).await
    };
    let frame = response.await.map_err(|disconnected| disconnected.into_error(false))?;
    expect(frame, path, expected)
}

fn expect(frame: Frame, path: &SandboxPath, expected: FrameKind) -> Result<Frame, EngineError> {
    if frame.kind == expected {
        return Ok(frame);
    }
    match (frame.kind, Failure::decode(&frame.payload)) {
        (FrameKind::Failed, Ok(failure)) => Err(file(path.as_str(), failure)),
        _ => Err(protocol("its response is of another kind", false)),
    }
}

/// Writes a file.
///
/// # Errors
/// Returns [`EngineError::File`], or an error of the infrastructure.
pub async fn write(
    channel: &impl Channel,
    path: &SandboxPath,
    content: &[u8],
    executable: bool,
) -> Result<(), EngineError> {
    let request = channel.router().open_request();
    let written = async {
        send_file(channel, request.id(), path, content, executable, false).await?;
        channel.response(&request).await
    };
    let frame = written.await.map_err(|disconnected| disconnected.into_error(false))?;
    expect(frame, path, FrameKind::Done).map(drop)
}

/// Reads a file of `limit` bytes at most.
///
/// # Errors
/// Returns [`EngineError::File`], or an error of the infrastructure.
pub async fn read(
    channel: &impl Channel,
    path: &SandboxPath,
    limit: u64,
) -> Result<Bytes, EngineError> {
    let name = request::path(path);
    let mut content = Vec::new();
    loop {
        // One byte beyond the limit distinguishes a file that fits from a larger one.
        let left = limit.saturating_add(1).saturating_sub(content.len() as u64);
        let length = u32::try_from(left).unwrap_or(READ_PIECE).min(READ_PIECE);
        let request = ReadRequest { offset: content.len() as u64, length, path: &name };
        let payload = request::encode(32 + name.len(), |writer| request.encode(writer))?;
        let frame = request_file(channel, FrameKind::Read, &payload, path, FrameKind::Data).await?;
        let Some((last, bytes)) = frame.payload.split_first() else {
            return Err(protocol("its data is malformed", false));
        };
        // Only the last piece may be shorter than requested. So a guest cannot send the file byte
        // by byte.
        let is_valid = if *last == 1 {
            bytes.len() <= length as usize
        } else {
            bytes.len() == length as usize
        };
        if !is_valid || *last > 1 {
            return Err(protocol("its data does not match the request", false));
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
/// Returns [`EngineError::File`], or an error of the infrastructure.
pub async fn list(channel: &impl Channel, path: &SandboxPath) -> Result<Listing, EngineError> {
    let name = request::path(path);
    let malformed = |_| protocol("its entries are malformed", false);
    let mut entries = Vec::new();
    let mut cursor = 0;
    loop {
        let request = ListRequest { cursor, path: &name };
        let payload = request::encode(32 + name.len(), |writer| request.encode(writer))?;
        let frame =
            request_file(channel, FrameKind::List, &payload, path, FrameKind::Entries).await?;
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
