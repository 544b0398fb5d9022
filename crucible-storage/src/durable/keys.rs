//! Where everything has its place in the map.
//!
//! All keys of a storage begin with `s`, so that a queue can live in the same map. Ids are in the keys as the sixteen bytes
//! that sort by time. Tenants, labels and idempotency keys are in them as hashes: a key is short, whatever they are.
//!
//! | key | value |
//! | --- | --- |
//! | `s.format` | the version of all of this |
//! | `se` id, sequence 0 | the row of an evaluation: its record without what the entries have |
//! | `se` id, sequence n | the n-th entry of its journal, or the hash of the file that has it |
//! | `ss` class, id | nothing: the evaluations of a class, see below; those that run have a list beside that |
//! | `st` tenant, class, id | nothing: a tenant's evaluations |
//! | `sl` label, class, id | nothing: the evaluations with a label |
//! | `sb` span, number | how many were submitted in that second, or those ten minutes, and the first and the last id |
//! | `sk` tenant and key | the evaluation that has an idempotency key |
//! | `sr` hash | how often entries name the file with this hash |
//!
//! What has not ended, queued or running, is one *class*; what has ended is of the class of its state. An evaluation changes
//! its class once and for all, which has two merits: a worker that takes it changes little, and whoever reads the list of what
//! has not ended before the others misses nothing that moves meanwhile.

use std::collections::BTreeSet;

use bytes::Bytes;
use crucible_core::{Digest, DigestStream, EvaluationId, Record, RecordState};

pub(super) const FORMAT: &[u8] = b"s.format";

/// How many bytes of a hash tell tenants and labels apart. Two with the same are told apart by their records.
const SHORT: usize = 16;

/// A state's byte. It is in keys, so it never changes.
fn code(state: RecordState) -> u8 {
    match state {
        RecordState::Queued => 1,
        RecordState::Running => 2,
        RecordState::Finished => 3,
        RecordState::Failed => 4,
        RecordState::Cancelled => 5,
        RecordState::Expired => 6,
        // A state that core gets and this does not know yet would be found by the test of this module.
        _ => u8::MAX,
    }
}

/// The class of a state: 0 for all that can still change.
fn class(state: RecordState) -> u8 {
    if state.is_terminal() { code(state) } else { 0 }
}

fn key(space: &[u8], parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().fold(space.len(), |length, part| length + part.len());
    let mut key = Vec::with_capacity(length);
    key.extend_from_slice(space);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key.into()
}

/// All of every evaluation.
pub(super) const EVALUATIONS: &[u8] = b"se";

/// All of an evaluation: its row and its entries.
pub(super) fn evaluation(id: EvaluationId) -> Bytes {
    key(EVALUATIONS, &[&id.to_bytes()])
}

pub(super) fn row(id: EvaluationId) -> Bytes {
    entry(id, 0)
}

pub(super) fn entry(id: EvaluationId, sequence: u64) -> Bytes {
    key(EVALUATIONS, &[&id.to_bytes(), &sequence.to_be_bytes()])
}

/// The sequence that a key of an entry has at its end; 0 for a row.
pub(super) fn sequence(key: &[u8]) -> Option<u64> {
    let (_, sequence) = key.split_last_chunk()?;
    Some(u64::from_be_bytes(*sequence))
}

/// The evaluation that a key of a row is of; `None` if it is a key of something else.
pub(super) fn row_of(key: &[u8]) -> Option<EvaluationId> {
    let (id, sequence) = key.strip_prefix(EVALUATIONS)?.split_first_chunk()?;
    (sequence == [0; 8]).then(|| EvaluationId::from_bytes(*id))
}

/// What the places in the list of a class begin with.
pub(super) fn of_class(state: RecordState) -> Bytes {
    key(b"ss", &[&[class(state)]])
}

/// What the places in the list of what runs begin with.
pub(super) fn running() -> Bytes {
    key(b"ss", &[&[code(RecordState::Running)]])
}

pub(super) fn of_tenant(tenant: &str, state: RecordState) -> Bytes {
    key(b"st", &[&short(&[tenant]), &[class(state)]])
}

pub(super) fn with_label(name: &str, value: &str, state: RecordState) -> Bytes {
    key(b"sl", &[&short(&[name, value]), &[class(state)]])
}

/// A place in an index.
pub(super) fn indexed(prefix: &[u8], id: EvaluationId) -> Bytes {
    key(prefix, &[&id.to_bytes()])
}

/// All places of a record in indexes.
pub(super) fn places(record: &Record) -> BTreeSet<Bytes> {
    let (evaluation, state) = (&record.evaluation, record.state);
    let labels = evaluation.labels.iter().map(|(name, value)| with_label(name, value, state));
    let running = (state == RecordState::Running).then(running);
    labels
        .chain(running)
        .chain([of_class(state), of_tenant(&evaluation.tenant, state)])
        .map(|prefix| indexed(&prefix, record.id))
        .collect()
}

/// The id at the end of a key of an index.
pub(super) fn id(key: &[u8]) -> Option<EvaluationId> {
    let (_, id) = key.split_last_chunk()?;
    Some(EvaluationId::from_bytes(*id))
}

/// All buckets of submission times.
pub(super) const BUCKETS: &[u8] = b"sb";

/// A bucket: all those of a span differ in the first byte.
pub(super) fn bucket(span: u8, number: u64) -> Bytes {
    key(BUCKETS, &[&[span], &number.to_be_bytes()])
}

pub(super) fn idempotency(tenant: &str, idempotency_key: &str) -> Bytes {
    key(b"sk", &[&hash(&[tenant, idempotency_key]).to_bytes()])
}

pub(super) fn references(digest: Digest) -> Bytes {
    key(b"sr", &[&digest.to_bytes()])
}

fn short(texts: &[&str]) -> [u8; SHORT] {
    let hash = hash(texts).to_bytes();
    hash.first_chunk().copied().unwrap_or_default()
}

/// A hash of texts in which no text can run into the next.
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
    fn every_state_has_a_place_of_its_own() {
        let lists: BTreeSet<_> =
            RecordState::ALL.into_iter().map(of_class).chain([running()]).collect();
        assert_eq!(lists.len(), RecordState::ALL.len());
        assert!(!lists.contains(&key(b"ss", &[&[u8::MAX]])));
        assert_eq!(of_tenant("a", RecordState::Queued), of_tenant("a", RecordState::Running));
        assert_ne!(of_tenant("a", RecordState::Queued), of_tenant("a", RecordState::Failed));
    }

    #[test]
    fn entries_sort_by_evaluation_and_sequence_and_say_both() {
        let ids = [EvaluationId::new(), EvaluationId::new()];
        let keys = [row(ids[0]), entry(ids[0], 1), entry(ids[0], 256), row(ids[1])];
        assert!(keys.is_sorted());
        assert_eq!(keys.map(|key| sequence(&key)), [0, 1, 256, 0].map(Some));
        assert!(entry(ids[0], 7).starts_with(&evaluation(ids[0])));
        assert_eq!(id(&indexed(&of_class(RecordState::Failed), ids[1])), Some(ids[1]));
    }

    #[test]
    fn texts_do_not_run_into_one_another() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(idempotency("", "a"), idempotency("a", ""));
    }
}
