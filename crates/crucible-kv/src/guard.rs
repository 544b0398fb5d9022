//! Panics of the libraries below, which damaged files can bring about, as errors.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::KvError;

/// Does something with a file, and takes a panic for what it is: a sign that the file is not as its owner has left it.
///
/// What the library leaves half-way in memory is its own, and each of those that are used here refuses to go on by itself:
/// its locks are poisoned.
pub(crate) fn guarded<T>(
    file: &str,
    action: impl FnOnce() -> Result<T, KvError>,
) -> Result<T, KvError> {
    panic::catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| {
        Err(KvError::Corrupt {
            what: file.into(),
            source: Some(Arc::new(Panicked(message(&*panic)))),
        })
    })
}

/// Drops something that may panic at that.
pub(crate) fn drop_quietly<T>(value: T) {
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(value)));
    // It could not write what makes opening it faster, which is its last chance to be of use, not of ours.
    drop(dropped);
}

#[derive(Debug, thiserror::Error)]
#[error("the store's library panicked: {0}")]
struct Panicked(String);

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
