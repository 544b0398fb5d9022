//! Numbers and byte strings in a buffer: little-endian, with the length before the bytes.

/// The error for a buffer that is too small for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// The error for bytes that are not a valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Writes numbers and byte strings into a buffer, one after another.
#[derive(Debug)]
pub struct WireWriter<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> WireWriter<'a> {
    /// Creates a writer that starts at the beginning of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// Returns the number of written bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Returns `true` if no byte was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Returns the written bytes.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.at).unwrap_or_default()
    }

    /// Writes bytes without their length.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.at.checked_add(bytes.len()).ok_or(Overflow)?;
        self.buffer.get_mut(self.at..end).ok_or(Overflow)?.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    /// Writes a number of one byte.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn u8(&mut self, number: u8) -> Result<(), Overflow> {
        self.raw(&[number])
    }

    /// Writes a number of two bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn u16(&mut self, number: u16) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a number of four bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn u32(&mut self, number: u32) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a signed number of four bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn i32(&mut self, number: i32) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a number of eight bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn u64(&mut self, number: u64) -> Result<(), Overflow> {
        self.raw(&number.to_le_bytes())
    }

    /// Writes a byte string: its length in four bytes, then its bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
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
    /// Creates a reader that starts at the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the unread bytes.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads the next `count` bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if fewer bytes remain.
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

    /// Reads a number of one byte.
    ///
    /// # Errors
    ///
    /// Returns an error if too few bytes remain.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    /// Reads a number of two bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if too few bytes remain.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// Reads a number of four bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if too few bytes remain.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a signed number of four bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if too few bytes remain.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_le_bytes)
    }

    /// Reads a number of eight bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if too few bytes remain.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a byte string: its length in four bytes, then its bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if too few bytes remain.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.u32()?;
        self.raw(usize::try_from(count).map_err(|_| Malformed)?)
    }

    /// Checks that no byte remains.
    ///
    /// # Errors
    ///
    /// Returns an error if bytes remain.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
