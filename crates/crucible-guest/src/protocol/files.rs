//! Requests about files, and their answers. Paths are beneath `/box`, with a NUL at the end.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// Write a file, or a piece of one.
///
/// The first piece makes the file, in place of one that is there; further pieces with the same request id append. Only
/// the last is answered, or the first that fails. A *quiet* request is input for the next command: it is answered only
/// if it is the first since the last command to fail, and then the next command fails with it. So a host may send any
/// number of them without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRequest<'a> {
    /// Whether this is the first piece.
    pub first: bool,
    /// Whether this is the last piece.
    pub last: bool,
    /// Whether success goes without saying.
    pub quiet: bool,
    /// The permission bits of the file.
    pub mode: u32,
    /// Where it goes, with its NUL.
    pub path: &'a [u8],
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> WriteRequest<'a> {
    /// Writes everything but the data, which follows as it is.
    ///
    /// # Errors
    /// There is no room.
    pub fn encode_head(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u8(u8::from(self.first) | u8::from(self.last) << 1 | u8::from(self.quiet) << 2)?;
        writer.u32(self.mode)?;
        writer.bytes(self.path)
    }

    /// Reads the request.
    ///
    /// # Errors
    /// It is malformed.
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

/// Read a piece of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// Where to begin.
    pub offset: u64,
    /// How many bytes at most; no more than fit into a frame are sent.
    pub length: u32,
    /// The file, with its NUL.
    pub path: &'a [u8],
}

impl<'a> ReadRequest<'a> {
    /// Writes the request.
    ///
    /// # Errors
    /// There is no room.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u64(self.offset)?;
        writer.u32(self.length)?;
        writer.bytes(self.path)
    }

    /// Reads the request.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let (offset, length) = (reader.u64()?, reader.u32()?);
        let path = checked_path(reader.bytes()?)?;
        reader.end()?;
        Ok(Self { offset, length, path })
    }
}

/// List a directory, from a place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRequest<'a> {
    /// Where to begin: 0, or what the answer before said.
    pub cursor: u64,
    /// The directory, with its NUL.
    pub path: &'a [u8],
}

impl<'a> ListRequest<'a> {
    /// Writes the request.
    ///
    /// # Errors
    /// There is no room.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u64(self.cursor)?;
        writer.bytes(self.path)
    }

    /// Reads the request.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let cursor = reader.u64()?;
        let path = checked_path(reader.bytes()?)?;
        reader.end()?;
        Ok(Self { cursor, path })
    }
}

/// What kind of thing a directory entry is.
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
    /// What it is.
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
    /// There is no room.
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

/// Some entries of a directory, and where to go on.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    /// What to ask for next; 0 if these were the last.
    pub next: u64,
    entries: WireReader<'a>,
}

impl<'a> Entries<'a> {
    /// Reads the answer. The entries are read one by one, see [`Entries::next_entry`].
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let next = reader.u64()?;
        Ok(Self { next, entries: reader })
    }

    /// The next entry; `None` after the last.
    ///
    /// # Errors
    /// It is malformed: its name is not one.
    pub fn next_entry(&mut self) -> Result<Option<EntryRef<'a>>, Malformed> {
        if self.entries.rest().is_empty() {
            return Ok(None);
        }
        EntryRef::decode(&mut self.entries).map(Some)
    }
}

/// A path ends with its only NUL and is not empty. Where it leads is checked when it is walked.
fn checked_path(path: &[u8]) -> Result<&[u8], Malformed> {
    match path.split_last() {
        Some((0, rest)) if !rest.is_empty() && !rest.contains(&0) => Ok(path),
        _ => Err(Malformed),
    }
}
