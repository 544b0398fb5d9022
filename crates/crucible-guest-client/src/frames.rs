//! Cutting what a guest says into frames. Every byte is hostile.

use bytes::Bytes;
use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, PAYLOAD_MAX_TO_HOST};

/// How much is read at first: most guests say less than this in their lives. It grows for a long frame.
const FIRST_READ: usize = 4096;

/// A frame from a guest.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it says.
    pub kind: FrameKind,
    /// The request that it answers; 0 for what is about the sandbox itself.
    pub id: u32,
    /// What follows the header.
    pub payload: Bytes,
}

/// What came is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidFrame;

/// Cuts what comes into frames. It holds one frame at most, and what was read along with it.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames {
    /// Nothing has come yet.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; FIRST_READ], start: 0, end: 0 }
    }

    /// How much memory it has taken.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame, if it has come as a whole.
    ///
    /// # Errors
    /// What came is not one.
    pub fn cut(&mut self) -> Result<Option<Frame>, InvalidFrame> {
        let pending = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(header) = pending.first_chunk::<HEADER_SIZE>() else { return Ok(None) };
        let header = Header::decode(header, PAYLOAD_MAX_TO_HOST).map_err(|_| InvalidFrame)?;
        let size = HEADER_SIZE + header.length as usize;
        let Some(frame) = pending.get(HEADER_SIZE..size) else {
            self.make_room(size);
            return Ok(None);
        };
        let payload = Bytes::copy_from_slice(frame);
        self.start += size;
        Ok(Some(Frame { kind: header.kind, id: header.id, payload }))
    }

    /// Where what comes next is to be put; never empty. [`filled`](Self::filled) says how much it was.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            let pending = self.end - self.start;
            self.make_room(pending + FIRST_READ);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were put into the [`room`](Self::room).
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Makes room for a frame of `size` bytes from the start of what is pending.
    fn make_room(&mut self, size: usize) {
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
    fn however_the_bytes_come_the_frames_are_the_same() {
        let long = vec![7; 100_000];
        let said = [
            frame(FrameKind::Done, 1, b""),
            frame(FrameKind::Data, 2, &long),
            frame(FrameKind::Done, 3, b"x"),
        ];
        let said = said.concat();
        for piece in [1, 11, 12, 13, 4096, 70_000, said.len()] {
            let (mut frames, mut cut, mut rest) = (Frames::new(), Vec::new(), &said[..]);
            while !rest.is_empty() {
                let room = frames.room();
                let count = rest.len().min(piece).min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                frames.filled(count);
                rest = &rest[count..];
                while let Some(frame) = frames.cut().unwrap() {
                    cut.push((frame.id, frame.payload.len()));
                }
            }
            assert_eq!(cut, [(1, 0), (2, 100_000), (3, 1)], "{piece}");
            assert!(frames.capacity() < PAYLOAD_MAX_TO_HOST + 2 * FIRST_READ);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_takes_room() {
        let mut frames = Frames::new();
        frames.room()[..HEADER_SIZE].fill(0xff);
        frames.filled(HEADER_SIZE);
        assert_eq!(frames.cut().unwrap_err(), InvalidFrame);
        assert_eq!(frames.capacity(), FIRST_READ);
    }
}
