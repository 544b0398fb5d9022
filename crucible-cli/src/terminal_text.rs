//! Guest text that is safe to print on a terminal.
//!
//! Control characters could set the terminal's title, clear its screen, or type on it.

use std::io;

/// Escapes control characters in a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Escaper {
    /// The first bytes of a character that the next piece completes.
    pending: Vec<u8>,
}

impl Escaper {
    /// Returns the next piece as safe text.
    ///
    /// Line ends and tabs stay; other control characters become escapes. Bytes that are not UTF-8
    /// become U+FFFD.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let complete = match std::str::from_utf8(&self.pending) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.pending.len(),
        };
        let rest = self.pending.split_off(complete);
        let complete = std::mem::replace(&mut self.pending, rest);
        let text = String::from_utf8_lossy(&complete);
        let mut safe = String::with_capacity(text.len());
        for character in text.chars() {
            // The category Cc is C0, DEL and C1. A C1 character is a whole escape sequence.
            if character.is_control() && !matches!(character, '\n' | '\t') {
                safe.extend(character.escape_default());
            } else {
                safe.push(character);
            }
        }
        safe
    }
}

/// Returns a complete text as safe text.
pub(crate) fn escaped(text: &str) -> String {
    Escaper::default().push(text.as_bytes())
}

/// A stream that escapes guest text if it leads to a terminal, and passes bytes on otherwise.
pub(crate) struct GuestWriter<W> {
    stream: W,
    escaper: Option<Escaper>,
}

impl<W: io::Write + io::IsTerminal> GuestWriter<W> {
    /// Creates a writer over a standard stream.
    pub(crate) fn new(stream: W) -> Self {
        let escaper = stream.is_terminal().then(Escaper::default);
        Self { stream, escaper }
    }

    /// Writes and flushes a piece of output.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.escaper {
            Some(escaper) => self.stream.write_all(escaper.push(bytes).as_bytes())?,
            None => self.stream.write_all(bytes)?,
        }
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_escapes() {
        assert_eq!(escaped("a\u{1b}[2J\u{9b}\tb\n"), "a\\u{1b}[2J\\u{9b}\tb\n");
    }

    #[test]
    fn split_character_is_joined() {
        let mut escaper = Escaper::default();
        assert_eq!(escaper.push(&[b'a', 0xc3]), "a");
        assert_eq!(escaper.push(&[0xa9, 0xff]), "é\u{fffd}");
    }
}
