//! Decoding of a guest's byte stream. Every byte is hostile.

use bytes::Bytes;
use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, PAYLOAD_MAX_TO_HOST};

/// The initial buffer size. Most guests send less than this in total. A long frame grows the
/// buffer.
const FIRST_READ: usize = 4096;

/// A frame from a guest.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The kind of message.
    pub kind: FrameKind,
    /// The request to which it responds; 0 for messages about the sandbox itself.
    pub id: u32,
    /// The bytes after the header.
    pub payload: Bytes,
}

/// The received bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidFrame;

/// Splits a byte stream into frames. It holds one frame at most, and the bytes that were read
/// together with it.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameDecoder {
    /// Creates an empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; FIRST_READ], start: 0, end: 0 }
    }

    /// Returns the size of the buffer.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the next frame, or `None` if it has not arrived completely.
    ///
    /// # Errors
    /// Returns [`InvalidFrame`] if the bytes are not a frame.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, InvalidFrame> {
        let pending = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(header) = pending.first_chunk::<HEADER_SIZE>() else { return Ok(None) };
        let header = Header::decode(header, PAYLOAD_MAX_TO_HOST).map_err(|_| InvalidFrame)?;
        let size = HEADER_SIZE + header.length as usize;
        let Some(frame) = pending.get(HEADER_SIZE..size) else {
            self.reserve(size);
            return Ok(None);
        };
        let payload = Bytes::copy_from_slice(frame);
        self.start += size;
        Ok(Some(Frame { kind: header.kind, id: header.id, payload }))
    }

    /// Returns the unused part of the buffer, which is never empty. Call [`advance`](Self::advance)
    /// after filling it.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            let pending = self.end - self.start;
            self.reserve(pending + FIRST_READ);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Records that `count` bytes were written to [`spare_mut`](Self::spare_mut).
    pub fn advance(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Makes room for a frame of `size` bytes that begins with the pending bytes.
    fn reserve(&mut self, size: usize) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use crucible_guest::protocol::WireWriter;

    use super::*;

    fn frame(kind: FrameKind, id: u32, payload: &[u8]) -> Vec<u8> {
        let mut header = [0; HEADER_SIZE];
        let length = u32::try_from(payload.len()).unwrap();
        Header { kind, id, length }.encode(&mut WireWriter::new(&mut header)).unwrap();
        [&header, payload].concat()
    }

    #[test]
    fn frames_do_not_depend_on_read_sizes() {
        let long = vec![7; 100_000];
        let sent = [
            frame(FrameKind::Done, 1, b""),
            frame(FrameKind::Data, 2, &long),
            frame(FrameKind::Done, 3, b"x"),
        ];
        let sent = sent.concat();
        for piece in [1, 11, 12, 13, 4096, 70_000, sent.len()] {
            let (mut decoder, mut received, mut rest) =
                (FrameDecoder::new(), Vec::new(), &sent[..]);
            while !rest.is_empty() {
                let spare = decoder.spare_mut();
                let count = rest.len().min(piece).min(spare.len());
                spare[..count].copy_from_slice(&rest[..count]);
                decoder.advance(count);
                rest = &rest[count..];
                while let Some(frame) = decoder.next_frame().unwrap() {
                    received.push((frame.id, frame.payload.len()));
                }
            }
            assert_eq!(received, [(1, 0), (2, 100_000), (3, 1)], "{piece}");
            assert!(decoder.capacity() < PAYLOAD_MAX_TO_HOST + 2 * FIRST_READ);
        }
    }

    #[test]
    fn invalid_header_is_refused_without_allocation() {
        let mut decoder = FrameDecoder::new();
        decoder.spare_mut()[..HEADER_SIZE].fill(0xff);
        decoder.advance(HEADER_SIZE);
        assert_eq!(decoder.next_frame().unwrap_err(), InvalidFrame);
        assert_eq!(decoder.capacity(), FIRST_READ);
    }
}
