//! What a program writes.

use std::hint::black_box;

use crucible_core::Capture;

use super::Step;

/// What a pipe holds, and what is read at once.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 16;
/// So little that most of what comes has been pushed out again in the end.
const BUDGET: usize = 256 * 1024;

pub(super) fn collect(_: usize) -> Step {
    let piece = vec![b'x'; PIECE];
    Box::new(move || {
        let mut capture = Capture::new(BUDGET);
        (0..PIECES).for_each(|_| capture.push(black_box(&piece)));
        black_box(capture.finish());
    })
}
