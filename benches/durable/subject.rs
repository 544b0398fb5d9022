//! What is measured, and what it is given.

use std::future::Future;
use std::pin::Pin;

pub(crate) type Step = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Something that evaluations can be given to.
pub(crate) trait Subject: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    /// One evaluation is accepted.
    fn submit(&self, writer: usize) -> Step;
    /// One evaluation is taken and ended; `false` if there was none.
    fn cycle(&self, writer: usize) -> Step;
}

/// Some text that does not compress to nothing, as long as a record is.
pub(crate) fn payload(n: u64) -> String {
    let mut state = n | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..64).map(|_| format!("{:016x}", next())).collect()
}
