//! Whether a journal is what was written.

use super::event::Event;
use super::record::{Record, TransitionError};
use crate::model::Digest;

/// What is wrong with a journal, and where: the first entry that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The entry's hash is not the hash of its content: the entry was edited.
    #[error("entry {sequence} was edited: its hash does not cover its content")]
    Edited {
        /// The entry's sequence.
        sequence: u64,
    },
    /// The entry cannot stand where it stands: one was dropped, moved, or made up.
    #[error("entry {sequence} cannot stand where it stands")]
    Misplaced {
        /// The entry's sequence.
        sequence: u64,
        /// In what way.
        #[source]
        source: TransitionError,
    },
    /// The entry is a signal; signals are never journaled.
    #[error("entry {sequence} is a signal")]
    Signal {
        /// The entry's sequence.
        sequence: u64,
    },
    /// The journal ends in another entry than its record says: its newest entries were removed.
    #[error("the journal ends with hash {found} where its record says {expected}")]
    Truncated {
        /// The hash that the record names.
        expected: Digest,
        /// The hash of the last entry.
        found: Digest,
    },
}

/// Checks a whole journal: every hash, every link, every transition. Gives the record that follows from it.
///
/// Removing the *newest* entries leaves a shorter journal that is sound in itself; hold the result's
/// [`head`](Record::head) against one that you kept elsewhere, see [`verify_against`].
///
/// # Errors
/// [`VerifyError`] names the first entry that is not what was written.
pub fn verify(events: &[Event]) -> Result<Option<Record>, VerifyError> {
    let mut record: Option<Record> = None;
    for event in events {
        let sequence = event.sequence;
        if event.kind.is_signal() {
            return Err(VerifyError::Signal { sequence });
        }
        if event.hash != event.computed_hash() {
            return Err(VerifyError::Edited { sequence });
        }
        record = Some(
            Record::apply(record.as_ref(), event)
                .map_err(|source| VerifyError::Misplaced { sequence, source })?,
        );
    }
    Ok(record)
}

/// Checks a whole journal, and that it ends with the entry whose hash is `head`.
///
/// # Errors
/// [`VerifyError`] names the first entry that is not what was written, or says that the end is missing.
pub fn verify_against(events: &[Event], head: Digest) -> Result<Option<Record>, VerifyError> {
    let record = verify(events)?;
    let found = record.as_ref().map_or(Digest::ZERO, |record| record.head);
    if found == head { Ok(record) } else { Err(VerifyError::Truncated { expected: head, found }) }
}
