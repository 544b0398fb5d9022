//! TODO(journal)

pub(crate) mod canonical;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
pub(crate) mod event;
#[cfg(feature = "checkpoint")]
pub mod merkle;
pub(crate) mod record;
pub(crate) mod verification;
pub(crate) mod verify;
