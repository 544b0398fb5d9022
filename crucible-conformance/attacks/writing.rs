//! Attacks by output: several times the output limit of the suite.

use super::context::AttackContext;
use super::sys::{self, STDERR, STDOUT};

const LINES: usize = 128;

fn flood(context: &AttackContext, streams: &[usize]) {
    let mut text = [b'x'; 32 * 1024];
    if let Some(last) = text.last_mut() {
        *last = b'\n';
    }
    for _ in 0..LINES {
        for stream in streams {
            if sys::write(*stream, &text).is_err() {
                return;
            }
        }
    }
    context.report_harm(b"4 MiB");
}

pub(crate) fn endless_stdout(context: &AttackContext) {
    flood(context, &[STDOUT]);
}

pub(crate) fn endless_stderr(context: &AttackContext) {
    flood(context, &[STDERR]);
}

pub(crate) fn endless_both(context: &AttackContext) {
    flood(context, &[STDOUT, STDERR]);
}

/// A chunk that is not UTF-8: a NUL, invalid bytes, and truncated characters.
const BINARY: [u8; 8] = [0, 0xff, 0xfe, b'a', 0x80, 0xc3, 0, 0xe2];

/// Writes 64 KiB without a line feed, ending in a truncated character.
pub(crate) fn binary_output(_: &AttackContext) {
    for _ in 0..8192 {
        let _written = sys::write(STDERR, &BINARY);
    }
}

/// Writes sequences that set a title, fill the clipboard, clear the screen, and query the terminal,
/// in 7-bit and 8-bit forms.
pub(crate) fn escape_sequences(_: &AttackContext) {
    let _written = sys::write(
        STDERR,
        b"\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[6n\x9b6n\x90$q\x9c\n",
    );
}

/// Writes more than the capacity of a pipe to each stream, so that a host that waits for the exit
/// before it reads blocks.
pub(crate) fn more_than_a_pipe(_: &AttackContext) {
    let text = [b'x'; 4096];
    for _ in 0..64 {
        for stream in [STDOUT, STDERR] {
            let _written = sys::write(stream, &text);
        }
    }
    sys::exit(5)
}

/// Writes each byte with its own call.
pub(crate) fn small_writes(_: &AttackContext) {
    for _ in 0..50_000 {
        let _written = sys::write(STDERR, b".");
    }
}
