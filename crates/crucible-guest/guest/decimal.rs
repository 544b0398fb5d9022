//! Decimal numbers in byte buffers.

use super::sys::{Errno, Result};

/// A small text under construction, with room for a NUL at its end.
#[derive(Debug)]
pub(crate) struct TextBuffer<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> TextBuffer<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    /// Appends bytes and leaves room for the NUL.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.length + bytes.len();
        if end >= N {
            return Err(Errno::INVAL);
        }
        self.bytes.get_mut(self.length..end).ok_or(Errno::INVAL)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// Appends a number in decimal.
    pub(crate) fn push_number(&mut self, mut number: u64) -> Result<()> {
        let mut digits = [0; 20];
        let mut start = digits.len();
        for (index, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b"0123456789".get((number % 10) as usize).copied().unwrap_or(b'0');
            number /= 10;
            start = index;
            if number == 0 {
                break;
            }
        }
        self.push(digits.get(start..).unwrap_or_default())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Returns the text with its NUL.
    pub(crate) fn with_nul(&self) -> &[u8] {
        self.bytes.get(..=self.length).unwrap_or(b"\0")
    }
}

/// Parses a text that consists of digits only.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_survives_a_round_trip() {
        for number in [0, 7, 10, 1_000_000, u64::MAX] {
            let mut text = TextBuffer::<32>::new();
            text.push_number(number).unwrap();
            assert_eq!(text.as_bytes(), number.to_string().as_bytes());
            assert_eq!(parse(text.as_bytes()), Some(number));
        }
        for text in ["", "x", "1x", "-1", "18446744073709551616"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn full_text_has_room_for_its_nul() {
        let mut text = TextBuffer::<4>::new();
        text.push(b"abc").unwrap();
        assert_eq!(text.with_nul(), b"abc\0");
        assert_eq!(text.push(b"d"), Err(Errno::INVAL));
    }
}
