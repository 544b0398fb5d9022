//! Conversion of panics in the storage libraries, which corrupt files can cause, into errors.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::KvError;

/// Runs an operation on a file and returns [`KvError::Corrupt`] if it panics.
///
/// A panic can leave the library's own state inconsistent. Both libraries then refuse further calls
/// by themselves, because their locks are poisoned.
pub(crate) fn catch_panics<T>(
    file: &str,
    action: impl FnOnce() -> Result<T, KvError>,
) -> Result<T, KvError> {
    panic::catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| {
        Err(KvError::Corrupt {
            what: file.into(),
            source: Some(Arc::new(LibraryPanic(message(&*panic)))),
        })
    })
}

/// Drops a value and ignores a panic of its destructor.
pub(crate) fn drop_quietly<T>(value: T) {
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(value)));
    // The destructors only write data that makes the next opening faster.
    drop(dropped);
}

#[derive(Debug, thiserror::Error)]
#[error("the storage library panicked: {0}")]
struct LibraryPanic(String);

/// Returns the message of a panic, or an empty string if it has none.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
