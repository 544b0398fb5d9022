//! Requests about files, and their answers. Paths are relative to `/box` and end with a NUL.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The request to write a file, or a piece of one.
///
/// The first piece creates the file and replaces an existing one. Further pieces with the same
/// request id append. The guest answers only the last piece, or the first that fails.
///
/// A *quiet* request writes input for the next command. The guest answers it only if it is the
/// first failure since the last command, and then the next command fails too. So a host may send
/// any number of them without reading answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRequest<'a> {
    /// Whether this is the first piece.
    pub first: bool,
    /// Whether this is the last piece.
    pub last: bool,
    /// Whether the guest sends no answer on success.
    pub quiet: bool,
    /// The permission bits of the file.
    pub mode: u32,
    /// The path of the file, with its NUL.
    pub path: &'a [u8],
    /// The content.
    pub data: &'a [u8],
}

impl<'a> WriteRequest<'a> {
    /// Writes everything except the content, which follows without a length.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode_head(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u8(u8::from(self.first) | u8::from(self.last) << 1 | u8::from(self.quiet) << 2)?;
        writer.u32(self.mode)?;
        writer.bytes(self.path)
    }

    /// Reads the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let flags = reader.u8()?;
        let mode = reader.u32()?;
        let path = checked_path(reader.bytes()?)?;
        if flags > 7 || mode > 0o777 {
            return Err(Malformed);
        }
        let [first, last, quiet] = [1, 2, 4].map(|flag| flags & flag != 0);
        Ok(Self { first, last, quiet, mode, path, data: reader.rest() })
    }
}

/// The request to read a piece of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// The first byte to read.
    pub offset: u64,
    /// The maximum number of bytes to read. The guest sends no more than fit into a frame.
    pub length: u32,
    /// The path of the file, with its NUL.
    pub path: &'a [u8],
}

impl<'a> ReadRequest<'a> {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u64(self.offset)?;
        writer.u32(self.length)?;
        writer.bytes(self.path)
    }

    /// Reads the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let (offset, length) = (reader.u64()?, reader.u32()?);
        let path = checked_path(reader.bytes()?)?;
        reader.end()?;
        Ok(Self { offset, length, path })
    }
}

/// The request to list a directory from a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRequest<'a> {
    /// 0, or the cursor in the previous answer.
    pub cursor: u64,
    /// The path of the directory, with its NUL.
    pub path: &'a [u8],
}

impl<'a> ListRequest<'a> {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u64(self.cursor)?;
        writer.bytes(self.path)
    }

    /// Reads the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let cursor = reader.u64()?;
        let path = checked_path(reader.bytes()?)?;
        reader.end()?;
        Ok(Self { cursor, path })
    }
}

/// The kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A regular file.
    File = 0,
    /// A directory.
    Directory = 1,
    /// Anything else.
    Other = 2,
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Its kind.
    pub kind: EntryKind,
    /// Its permission bits.
    pub mode: u32,
    /// Its size.
    pub size: u64,
    /// Its name: any bytes but NUL and `/`, at most 255, not `.`, not `..`.
    pub name: &'a [u8],
}

impl<'a> EntryRef<'a> {
    /// Writes the entry.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u8(self.kind as u8)?;
        writer.u32(self.mode)?;
        writer.u64(self.size)?;
        writer.bytes(self.name)
    }

    fn decode(reader: &mut WireReader<'a>) -> Result<Self, Malformed> {
        let kind = match reader.u8()? {
            0 => EntryKind::File,
            1 => EntryKind::Directory,
            2 => EntryKind::Other,
            _ => return Err(Malformed),
        };
        let (mode, size, name) = (reader.u32()?, reader.u64()?, reader.bytes()?);
        let sound = (1..=255).contains(&name.len())
            && !matches!(name, b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
        if sound { Ok(Self { kind, mode, size, name }) } else { Err(Malformed) }
    }
}

/// Some entries of a directory, and the cursor of the next ones.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    /// The cursor for the next request; 0 if these are the last entries.
    pub next: u64,
    entries: WireReader<'a>,
}

impl<'a> Entries<'a> {
    /// Reads the cursor. [`Entries::next_entry`] reads the entries.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let next = reader.u64()?;
        Ok(Self { next, entries: reader })
    }

    /// Returns the next entry; `None` after the last one.
    ///
    /// # Errors
    ///
    /// Returns an error if the entry is malformed, or its name is not a file name.
    pub fn next_entry(&mut self) -> Result<Option<EntryRef<'a>>, Malformed> {
        if self.entries.rest().is_empty() {
            return Ok(None);
        }
        EntryRef::decode(&mut self.entries).map(Some)
    }
}

/// Checks that a path is not empty and ends with its only NUL. The guest checks where it leads when
/// it resolves the path.
fn checked_path(path: &[u8]) -> Result<&[u8], Malformed> {
    match path.split_last() {
        Some((0, rest)) if !rest.is_empty() && !rest.contains(&0) => Ok(path),
        _ => Err(Malformed),
    }
}
