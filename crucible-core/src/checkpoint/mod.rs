//! Checkpoints: signed Merkle roots over all journals of a storage.
//!
//! The hash chain of a journal shows that no entry *within* it was edited. A checkpoint also shows
//! that no entry was removed from its end, and that no journal was removed. Keep the checkpoint, a
//! line of text, outside the reach of the writers of the storage.

mod error;
mod head;
mod key;
pub mod merkle;
mod statement;

pub use error::CheckpointError;
pub use head::{JournalHead, heads, verify_heads};
pub use key::{CheckpointKey, CheckpointPublicKey, ParseKeyError};
pub use statement::Checkpoint;
