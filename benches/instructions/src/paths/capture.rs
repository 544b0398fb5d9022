//! Capturing output.

use std::hint::black_box;

use crucible_core::Capture;

use super::Step;

/// The capacity of a pipe, and the size of one read.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 16;
/// A capture budget that forces most of the output to be discarded.
const BUDGET: usize = 256 * 1024;

pub(super) fn collect(_: usize) -> Step {
    let piece = vec![b'x'; PIECE];
    Box::new(move || {
        let mut capture = Capture::new(BUDGET);
        (0..PIECES).for_each(|_| capture.push(black_box(&piece)));
        black_box(capture.finish());
    })
}
