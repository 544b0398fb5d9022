//! Output without end: several times the limit of the suite.

use super::scene::Scene;
use super::sys::{self, STDERR, STDOUT};

const LINES: usize = 128;

fn flood(scene: &Scene, streams: &[usize]) {
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
    scene.harm(b"4 MiB");
}

pub(crate) fn endless_stdout(scene: &Scene) {
    flood(scene, &[STDOUT]);
}

pub(crate) fn endless_stderr(scene: &Scene) {
    flood(scene, &[STDERR]);
}

pub(crate) fn endless_both(scene: &Scene) {
    flood(scene, &[STDOUT, STDERR]);
}
