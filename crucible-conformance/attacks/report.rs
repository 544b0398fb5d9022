//! What an attack says: lines on standard output, each of which begins with the mark that the host gave it.

use super::sys::{self, Errno};

/// A line under construction. What does not fit is cut off.
pub(crate) struct ReportLine {
    bytes: [u8; 512],
    length: usize,
}

impl ReportLine {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 512], length: 0 }
    }

    pub(crate) fn push(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            // The last is for the end of the line.
            if self.length + 1 < self.bytes.len()
                && let Some(slot) = self.bytes.get_mut(self.length)
            {
                *slot = *byte;
                self.length += 1;
            }
        }
        self
    }

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

    /// The text with a NUL, as a path.
    pub(crate) fn path(&mut self) -> &core::ffi::CStr {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = 0;
        }
        let text = self.bytes.get(..=self.length).unwrap_or_default();
        core::ffi::CStr::from_bytes_until_nul(text).unwrap_or_default()
    }

    /// Writes the line in one piece: lines of processes that write at once do not mix.
    pub(crate) fn write(&mut self) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = b'\n';
            self.length += 1;
        }
        // There is nobody else to tell.
        let _written: Result<usize, Errno> =
            sys::write(sys::STDOUT, self.bytes.get(..self.length).unwrap_or_default());
    }
}
