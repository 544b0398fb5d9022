//! Numbers and byte strings in a buffer: little-endian, length before bytes.

/// A buffer has no room for what is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// Bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Writes numbers and byte strings into a buffer, one after another.
#[derive(Debug)]
pub struct WireWriter<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> WireWriter<'a> {
    /// Writes into `buffer` from its beginning.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.at).unwrap_or_default()
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// There is no room.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.at.checked_add(bytes.len()).ok_or(Overflow)?;
        self.buffer.get_mut(self.at..end).ok_or(Overflow)?.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    /// Writes a number of one byte.
    ///
    /// # Errors
    /// There is no room.
    pub fn u8(&mut self, number: u8) -> Result<(), Overflow> {
        self.raw(&[number])
    }

    /// Writes a number of two bytes.
    ///
    /// # Errors
    /// There is no room.
    pub fn u16(&mut self, number: u16) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a number of four bytes.
    ///
    /// # Errors
    /// There is no room.
    pub fn u32(&mut self, number: u32) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a signed number of four bytes.
    ///
    /// # Errors
    /// There is no room.
    pub fn i32(&mut self, number: i32) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a number of eight bytes.
    ///
    /// # Errors
    /// There is no room.
    pub fn u64(&mut self, number: u64) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a byte string: its length in four bytes, then its bytes.
    ///
    /// # Errors
    /// There is no room.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        self.u32(u32::try_from(bytes.len()).map_err(|_| Overflow)?)?;
        self.raw(bytes)
    }
}

/// Reads numbers and byte strings from a buffer, one after another. Never reads past its end.
#[derive(Debug, Clone, Copy)]
pub struct WireReader<'a> {
    rest: &'a [u8],
}

impl<'a> WireReader<'a> {
    /// Reads from the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A number of one byte.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    /// A number of two bytes.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// A number of four bytes.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// A signed number of four bytes.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_le_bytes)
    }

    /// A number of eight bytes.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A byte string: its length in four bytes, then its bytes.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.u32()?;
        self.raw(usize::try_from(count).map_err(|_| Malformed)?)
    }

    /// That everything was read.
    ///
    /// # Errors
    /// Something is left.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
