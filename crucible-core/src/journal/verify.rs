//! Verification of one journal.

use super::event::Event;
use super::record::{Record, TransitionError};
use crate::model::Digest;

/// The first problem of a journal, with the sequence number of the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The entry was edited: its hash is not the hash of its content.
    #[error("entry {sequence} was edited: its hash does not cover its content")]
    Edited {
        /// The entry's sequence.
        sequence: u64,
    },
    /// The entry does not fit its position: an entry was removed, moved or forged.
    #[error("entry {sequence} does not fit its position")]
    Misplaced {
        /// The entry's sequence.
        sequence: u64,
        /// The invalid transition.
        #[source]
        source: TransitionError,
    },
    /// The entry is a signal. No journal contains signals.
    #[error("entry {sequence} is a signal")]
    Signal {
        /// The entry's sequence.
        sequence: u64,
    },
    /// The journal ends with another hash than expected: its newest entries were removed.
    #[error("the journal ends with hash {found}; expected {expected}")]
    Truncated {
        /// The expected hash.
        expected: Digest,
        /// The hash of the last entry.
        found: Digest,
    },
}

/// Verifies all hashes, links and transitions of a journal, and returns its record.
///
/// Without its *newest* entries, a journal is still valid. To detect that, keep the
/// [`head`](Record::head) elsewhere and use [`verify_against`].
///
/// # Errors
/// Returns a [`VerifyError`] for the first invalid entry.
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

/// Verifies a journal, and that its last entry has the hash `head`.
///
/// # Errors
/// Returns a [`VerifyError`] for the first invalid entry, or if the newest entries are missing.
pub fn verify_against(events: &[Event], head: Digest) -> Result<Option<Record>, VerifyError> {
    let record = verify(events)?;
    let found = record.as_ref().map_or(Digest::ZERO, |record| record.head);
    if found == head { Ok(record) } else { Err(VerifyError::Truncated { expected: head, found }) }
}
