//! Frames that are sent together.

use super::sys::{Errno, Result};
use crate::protocol::{FrameKind, HEADER_SIZE, Header, Overflow, WireWriter};

/// Room for the frames about one command: its start, with the status file, and its end.
const BATCH_MAX: usize = 5 * 1024;

/// Frames that are sent with one system call, so that the reader wakes up once.
pub(crate) struct FrameBatch {
    bytes: [u8; BATCH_MAX],
    length: usize,
}

impl FrameBatch {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; BATCH_MAX], length: 0 }
    }

    /// Adds a frame. `write` writes its payload.
    pub(crate) fn add(
        &mut self,
        kind: FrameKind,
        id: u32,
        write: impl FnOnce(&mut WireWriter<'_>) -> core::result::Result<(), Overflow>,
    ) -> Result<()> {
        let free = self.bytes.get_mut(self.length..).unwrap_or_default();
        let (header, payload) = free.split_at_mut_checked(HEADER_SIZE).ok_or(Errno::INVAL)?;
        let mut writer = WireWriter::new(payload);
        write(&mut writer).map_err(|_| Errno::INVAL)?;
        let written = writer.len();
        let length = u32::try_from(written).map_err(|_| Errno::INVAL)?;
        let header_writer = &mut WireWriter::new(header);
        Header { kind, id, length }.encode(header_writer).map_err(|_| Errno::INVAL)?;
        self.length += HEADER_SIZE + written;
        Ok(())
    }

    /// Returns the encoded frames and empties the batch.
    pub(crate) fn take(&mut self) -> &[u8] {
        let length = core::mem::replace(&mut self.length, 0);
        self.bytes.get(..length).unwrap_or_default()
    }
}
