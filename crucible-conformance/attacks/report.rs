//! Report lines on standard output. Each begins with the mark that the host passed.

use super::sys::{self, SysError};

/// A line or a path under construction. Bytes beyond the buffer are cut off.
pub(crate) struct TextBuffer {
    bytes: [u8; 512],
    length: usize,
}

impl TextBuffer {
    /// Creates an empty line.
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 512], length: 0 }
    }

    /// Appends a text.
    pub(crate) fn push(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            // The last byte is for the line feed.
            if self.length + 1 < self.bytes.len()
                && let Some(slot) = self.bytes.get_mut(self.length)
            {
                *slot = *byte;
                self.length += 1;
            }
        }
        self
    }

    /// Appends a decimal number.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            if let Some(slot) = digits.get_mut(at) {
                *slot = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            }
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(at..).unwrap_or_default())
    }

    /// Returns the text as a path.
    pub(crate) fn path(&mut self) -> &core::ffi::CStr {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = 0;
        }
        let text = self.bytes.get(..=self.length).unwrap_or_default();
        core::ffi::CStr::from_bytes_until_nul(text).unwrap_or_default()
    }

    /// Writes the line in one call, so that lines of concurrent processes do not mix.
    pub(crate) fn write(&mut self) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = b'\n';
            self.length += 1;
        }
        // There is no other channel to report a failure.
        let _written: Result<usize, SysError> =
            sys::write(sys::STDOUT, self.bytes.get(..self.length).unwrap_or_default());
    }
}
