//! The keys of a storage in a store.
//!
//! All of them begin with `s`, so that a queue can use the same store. Ids are 16 bytes that sort
//! by time. Tenants, labels and idempotency keys are hashed, so that keys are short.
//!
//! | key | value |
//! | --- | --- |
//! | `s.format` | the layout version |
//! | `se` id, sequence 0 | the row of an evaluation: its record without the data in its entries |
//! | `se` id, sequence n | the n-th entry of its journal, or the digest of its file |
//! | `ss` class, id | empty: an index by class, see below, and one of running evaluations |
//! | `st` tenant, class, id | empty: an index by tenant |
//! | `sl` label, class, id | empty: an index by label |
//! | `sb` span, number | count, first and last id of the submissions in a second or in ten minutes |
//! | `sk` tenant and key | the evaluation that owns an idempotency key |
//! | `sr` digest | the number of references to the file with this digest |
//!
//! Queued and running evaluations form one *class*. Each terminal state is a class of its own. An
//! evaluation changes its class only once. A claim therefore changes few keys, and a reader that
//! reads the class of live evaluations first misses none that moves meanwhile.

use std::collections::BTreeSet;

use bytes::Bytes;
use crucible_core::{Digest, DigestStream, EvaluationId, Record, RecordState};

/// The key of the layout version.
pub(super) const FORMAT: &[u8] = b"s.format";

/// The length of a truncated hash of a tenant or a label. A collision is harmless, because queries
/// also check the records.
const SHORT_HASH: usize = 16;

/// Returns the byte of a state in keys. It must never change.
fn code(state: RecordState) -> u8 {
    match state {
        RecordState::Queued => 1,
        RecordState::Running => 2,
        RecordState::Finished => 3,
        RecordState::Failed => 4,
        RecordState::Cancelled => 5,
        RecordState::Expired => 6,
        // The tests of this module detect a new state without a byte.
        _ => u8::MAX,
    }
}

/// Returns the byte of a state's class: 0 for all live states.
fn class(state: RecordState) -> u8 {
    if state.is_terminal() { code(state) } else { 0 }
}

/// Returns a key from a prefix and its parts.
fn key(space: &[u8], parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().fold(space.len(), |length, part| length + part.len());
    let mut key = Vec::with_capacity(length);
    key.extend_from_slice(space);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key.into()
}

/// The prefix of rows and entries.
pub(super) const EVALUATIONS: &[u8] = b"se";

/// Returns the prefix of an evaluation's row and entries.
pub(super) fn evaluation(id: EvaluationId) -> Bytes {
    key(EVALUATIONS, &[&id.to_bytes()])
}

/// Returns the key of an evaluation's row.
pub(super) fn row(id: EvaluationId) -> Bytes {
    entry(id, 0)
}

/// Returns the key of a journal entry.
pub(super) fn entry(id: EvaluationId, sequence: u64) -> Bytes {
    key(EVALUATIONS, &[&id.to_bytes(), &sequence.to_be_bytes()])
}

/// Returns the sequence number in the key of an entry; 0 for a row.
pub(super) fn sequence(key: &[u8]) -> Option<u64> {
    let (_, sequence) = key.split_last_chunk()?;
    Some(u64::from_be_bytes(*sequence))
}

/// Returns the evaluation of a row's key; `None` for other keys.
pub(super) fn evaluation_of_row(key: &[u8]) -> Option<EvaluationId> {
    let (id, sequence) = key.strip_prefix(EVALUATIONS)?.split_first_chunk()?;
    (sequence == [0; 8]).then(|| EvaluationId::from_bytes(*id))
}

/// Returns the prefix of the index by class.
pub(super) fn of_class(state: RecordState) -> Bytes {
    key(b"ss", &[&[class(state)]])
}

/// Returns the prefix of the index of running evaluations.
pub(super) fn running() -> Bytes {
    key(b"ss", &[&[code(RecordState::Running)]])
}

/// Returns the prefix of the index by tenant.
pub(super) fn of_tenant(tenant: &str, state: RecordState) -> Bytes {
    key(b"st", &[&short_hash(&[tenant]), &[class(state)]])
}

/// Returns the prefix of the index by label.
pub(super) fn with_label(name: &str, value: &str, state: RecordState) -> Bytes {
    key(b"sl", &[&short_hash(&[name, value]), &[class(state)]])
}

/// Returns the key of an evaluation in an index.
pub(super) fn indexed(prefix: &[u8], id: EvaluationId) -> Bytes {
    key(prefix, &[&id.to_bytes()])
}

/// Returns all index keys of a record.
pub(super) fn index_keys(record: &Record) -> BTreeSet<Bytes> {
    let (evaluation, state) = (&record.evaluation, record.state);
    let labels = evaluation.labels.iter().map(|(name, value)| with_label(name, value, state));
    let running = (state == RecordState::Running).then(running);
    labels
        .chain(running)
        .chain([of_class(state), of_tenant(&evaluation.tenant, state)])
        .map(|prefix| indexed(&prefix, record.id))
        .collect()
}

/// Returns the id in an index key.
pub(super) fn id(key: &[u8]) -> Option<EvaluationId> {
    let (_, id) = key.split_last_chunk()?;
    Some(EvaluationId::from_bytes(*id))
}

/// The prefix of the time buckets.
pub(super) const TIME_BUCKETS: &[u8] = b"sb";

/// Returns the key of a time bucket. The first byte is the span.
pub(super) fn time_bucket(span: u8, number: u64) -> Bytes {
    key(TIME_BUCKETS, &[&[span], &number.to_be_bytes()])
}

/// Returns the key of an idempotency key.
pub(super) fn idempotency(tenant: &str, idempotency_key: &str) -> Bytes {
    key(b"sk", &[&hash(&[tenant, idempotency_key]).to_bytes()])
}

/// Returns the key of a file's reference count.
pub(super) fn references(digest: Digest) -> Bytes {
    key(b"sr", &[&digest.to_bytes()])
}

/// Returns a truncated hash of some texts.
fn short_hash(texts: &[&str]) -> [u8; SHORT_HASH] {
    let hash = hash(texts).to_bytes();
    hash.first_chunk().copied().unwrap_or_default()
}

/// Returns a hash of some texts. Lengths keep the boundaries between texts unambiguous.
fn hash(texts: &[&str]) -> Digest {
    let mut hash = DigestStream::new();
    for text in texts {
        hash.push(&(text.len() as u64).to_be_bytes());
        hash.push(text.as_bytes());
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_own_byte() {
        let lists: BTreeSet<_> =
            RecordState::ALL.into_iter().map(of_class).chain([running()]).collect();
        assert_eq!(lists.len(), RecordState::ALL.len());
        assert!(!lists.contains(&key(b"ss", &[&[u8::MAX]])));
        assert_eq!(of_tenant("a", RecordState::Queued), of_tenant("a", RecordState::Running));
        assert_ne!(of_tenant("a", RecordState::Queued), of_tenant("a", RecordState::Failed));
    }

    #[test]
    fn entry_keys_sort_by_evaluation_and_sequence() {
        let ids = [EvaluationId::new(), EvaluationId::new()];
        let keys = [row(ids[0]), entry(ids[0], 1), entry(ids[0], 256), row(ids[1])];
        assert!(keys.is_sorted());
        assert_eq!(keys.map(|key| sequence(&key)), [0, 1, 256, 0].map(Some));
        assert!(entry(ids[0], 7).starts_with(&evaluation(ids[0])));
        assert_eq!(id(&indexed(&of_class(RecordState::Failed), ids[1])), Some(ids[1]));
    }

    #[test]
    fn hash_depends_on_text_boundaries() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(idempotency("", "a"), idempotency("a", ""));
    }
}
