//! The storages compared with a plain model: random calls return the same results, also if a
//! durable storage is closed and opened again at any time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper may panic, as the test itself may"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use crucible_core::{
    Artifact, Digest, ErrorReport, Evaluation, EvaluationId, Event, EventKind, Evidence, Outcome,
    OutputStream, Record, RecordQuery, RecordState, RequeueReason, SandboxPath, Storage,
    StorageError, Timestamp, TransitionError, WorkerId,
};
use crucible_storage::MemoryStorage;
use proptest::prelude::*;

#[cfg(feature = "durable")]
#[path = "support/storage_fixture.rs"]
#[expect(dead_code, reason = "other test programs use the rest")]
mod storage_fixture;

/// A storage that is compared with the model.
trait TestedStorage: Storage + Sized {
    /// Whether reopening removes unreferenced blobs.
    const IS_DURABLE: bool;

    async fn reopen(self) -> Self;
}

impl TestedStorage for MemoryStorage {
    const IS_DURABLE: bool = false;

    async fn reopen(self) -> Self {
        self
    }
}

#[cfg(feature = "durable")]
impl TestedStorage for storage_fixture::StorageFixture {
    const IS_DURABLE: bool = true;

    async fn reopen(self) -> Self {
        self.reopen().await
    }
}

/// The number of evaluations. It is small, so that evaluations recur.
const SLOTS: usize = 6;

/// The kinds of events, as generated values.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Submitted {
        tenant: u8,
        key: Option<u8>,
        label: Option<u8>,
        large: bool,
    },
    Started {
        attempt: u32,
    },
    AttemptFailed {
        attempt: u32,
    },
    Requeued {
        attempt: u32,
    },
    CancelRequested,
    /// The test puts the artifact before.
    Finished {
        cancelled: bool,
        artifact: Option<u8>,
    },
    Failed,
    Cancelled,
    Refused,
    Expired,
    Output,
}

/// An error in the sequence or the chain of events; mostly none.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    None,
    Sequence,
    Chain,
    Foreign,
}

#[derive(Debug, Clone)]
enum Op {
    /// `off` is the difference between the expected and the actual length.
    Append {
        slot: usize,
        off: i64,
        events: Vec<(Kind, Flaw)>,
    },
    Query {
        states: Vec<RecordState>,
        tenant: Option<u8>,
        label: Option<u8>,
        after: Option<usize>,
        newest: bool,
        limit: usize,
    },
    Journal {
        slot: usize,
        after: u64,
    },
    PutBlob {
        content: u8,
    },
    Blob {
        content: u8,
    },
    Remove {
        slot: usize,
        off: i64,
    },
    Reopen,
}

fn kind() -> impl Strategy<Value = Kind> {
    let attempt = || 1..4_u32;
    let option_of_two = || proptest::option::of(0..2_u8);
    prop_oneof![
        4 => (0..2_u8, option_of_two(), option_of_two(), proptest::bool::weighted(0.05))
            .prop_map(|(tenant, key, label, large)| Kind::Submitted { tenant, key, label, large }),
        4 => attempt().prop_map(|attempt| Kind::Started { attempt }),
        1 => attempt().prop_map(|attempt| Kind::AttemptFailed { attempt }),
        2 => attempt().prop_map(|attempt| Kind::Requeued { attempt }),
        1 => Just(Kind::CancelRequested),
        2 => (any::<bool>(), proptest::option::of(0..4_u8))
            .prop_map(|(cancelled, artifact)| Kind::Finished { cancelled, artifact }),
        1 => Just(Kind::Failed),
        1 => Just(Kind::Cancelled),
        1 => Just(Kind::Refused),
        1 => Just(Kind::Expired),
        1 => Just(Kind::Output),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let flaw = prop_oneof![
        20 => Just(Flaw::None),
        1 => Just(Flaw::Sequence),
        1 => Just(Flaw::Chain),
        1 => Just(Flaw::Foreign),
    ];
    let off = || prop_oneof![10 => Just(0), 1 => -2..3_i64];
    let events = proptest::collection::vec((kind(), flaw), 0..4);
    let query = (
        proptest::collection::vec(proptest::sample::select(RecordState::ALL.to_vec()), 0..3),
        proptest::option::of(0..3_u8),
        proptest::option::of(0..3_u8),
        proptest::option::of(0..SLOTS),
        any::<bool>(),
        0..4_usize,
    );
    prop_oneof![
        6 => (0..SLOTS, off(), events)
            .prop_map(|(slot, off, events)| Op::Append { slot, off, events }),
        2 => query.prop_map(|(states, tenant, label, after, newest, limit)| {
            Op::Query { states, tenant, label, after, newest, limit }
        }),
        1 => (0..SLOTS, 0..6_u64).prop_map(|(slot, after)| Op::Journal { slot, after }),
        1 => (0..4_u8).prop_map(|content| Op::PutBlob { content }),
        1 => (0..4_u8).prop_map(|content| Op::Blob { content }),
        2 => (0..SLOTS, off()).prop_map(|(slot, off)| Op::Remove { slot, off }),
        1 => Just(Op::Reopen),
    ]
}

fn bytes_of(content: u8) -> Bytes {
    Bytes::from(vec![content; usize::from(content) * 100])
}

fn event_kind(kind: Kind) -> EventKind {
    let outcome = |evidence| Arc::new(Outcome::new("fake", evidence));
    match kind {
        Kind::Submitted { tenant, key, label, large } => {
            let mut evaluation = Evaluation::command(["true"]).with_tenant(tenant.to_string());
            evaluation.idempotency_key = key.map(|key| key.to_string());
            if let Some(label) = label {
                evaluation = evaluation.with_label("l", label.to_string());
            }
            if large {
                evaluation = evaluation.with_stdin(vec![b'x'; 20_000]);
            }
            EventKind::Submitted { evaluation: Arc::new(evaluation) }
        }
        Kind::Started { attempt } => {
            EventKind::Started { attempt, worker: WorkerId::new("w"), engine: "fake".to_owned() }
        }
        Kind::AttemptFailed { attempt } => EventKind::AttemptFailed {
            attempt,
            error: ErrorReport::new("lost", "it was lost"),
            retry_in: std::time::Duration::ZERO,
        },
        Kind::Requeued { attempt } => {
            EventKind::Requeued { attempt, reason: RequeueReason::Shutdown }
        }
        Kind::CancelRequested => EventKind::CancelRequested,
        Kind::Finished { cancelled, artifact } => {
            let evidence =
                if cancelled { vec![Evidence::CancelledBeforeStart] } else { Vec::new() };
            let artifacts = artifact.into_iter().map(|content| {
                let mut artifact =
                    Artifact::new(SandboxPath::new("a").unwrap(), bytes_of(content), false);
                artifact.content = None;
                artifact
            });
            let outcome =
                Outcome::new("fake", evidence).with_artifacts(artifacts.collect(), Vec::new());
            EventKind::Finished { outcome: outcome.into() }
        }
        Kind::Failed => {
            EventKind::Failed { error: ErrorReport::new("poison", "three leases expired") }
        }
        Kind::Cancelled => EventKind::Cancelled {
            reason: "on request".to_owned(),
            outcome: Some(outcome(vec![Evidence::CancelledBeforeStart])),
        },
        Kind::Refused => {
            EventKind::Cancelled { reason: "not queued: full".to_owned(), outcome: None }
        }
        Kind::Expired => EventKind::Expired,
        Kind::Output => EventKind::Output {
            stream: OutputStream::Stdout,
            offset: 0,
            bytes: Bytes::from_static(b"x"),
        },
    }
}

/// The rules in their simplest form: the model stores only journals, and derives the rest each
/// time.
#[derive(Default)]
struct Model {
    journals: BTreeMap<EvaluationId, Vec<Event>>,
    /// The number of `put_blob` calls of each blob without a later reference.
    pins: BTreeMap<Digest, u64>,
    /// The existing blobs.
    blobs: BTreeSet<Digest>,
}

#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Conflict(u64),
    Transition(TransitionError),
    KeyTaken(EvaluationId),
    NotEnded(RecordState),
}

impl Model {
    fn record(&self, id: EvaluationId) -> Option<Record> {
        Record::fold(self.journals.get(&id).into_iter().flatten()).unwrap()
    }

    fn records(&self) -> Vec<Record> {
        self.journals.keys().filter_map(|id| self.record(*id)).collect()
    }

    fn append(
        &mut self,
        id: EvaluationId,
        expected: u64,
        events: &[Event],
    ) -> Result<Record, Refused> {
        let mut journal = self.journals.get(&id).cloned().unwrap_or_default();
        let is_new = journal.is_empty();
        if journal.len() as u64 != expected {
            return Err(Refused::Conflict(journal.len() as u64));
        }
        if let Some(foreign) = events.iter().find(|event| event.evaluation != id) {
            // An earlier event may be refused for another reason.
            let before = events.iter().take_while(|event| event.evaluation == id);
            Record::fold(journal.iter().chain(before)).map_err(Refused::Transition)?;
            return Err(Refused::Transition(TransitionError::Evaluation {
                found: foreign.evaluation,
            }));
        }
        journal.extend(events.iter().cloned());
        let record = Record::fold(&journal).map_err(Refused::Transition)?;
        let record = record.ok_or(Refused::Transition(TransitionError::State {
            state: "absent",
            event: "nothing",
        }))?;
        let owner = self.records().into_iter().find(|other| {
            record.evaluation.idempotency_key.is_some()
                && other.evaluation.idempotency_key == record.evaluation.idempotency_key
                && other.evaluation.tenant == record.evaluation.tenant
                && !other.is_refused()
        });
        if let (true, Some(owner)) = (is_new, owner) {
            return Err(Refused::KeyTaken(owner.id));
        }
        self.journals.insert(id, journal);
        for digest in events.iter().flat_map(|event| event.kind.blobs()) {
            let pins = self.pins.entry(digest).or_default();
            *pins = pins.saturating_sub(1);
        }
        Ok(record)
    }

    fn remove(&mut self, id: EvaluationId, expected: u64) -> Result<bool, Refused> {
        let Some(record) = self.record(id) else { return Ok(false) };
        if record.sequence != expected {
            return Err(Refused::Conflict(record.sequence));
        }
        if !record.state.is_terminal() {
            return Err(Refused::NotEnded(record.state));
        }
        let removed = self.journals.remove(&id).unwrap();
        self.drop_blobs(|digest| {
            removed.iter().any(|event| event.kind.blobs().any(|named| named == *digest))
        });
        Ok(true)
    }

    fn put_blob(&mut self, digest: Digest) {
        self.blobs.insert(digest);
        *self.pins.entry(digest).or_default() += 1;
    }

    /// Removes the selected blobs without pins and references.
    fn drop_blobs(&mut self, selected: impl Fn(&Digest) -> bool) {
        let referenced: BTreeSet<_> =
            self.journals.values().flatten().flat_map(|event| event.kind.blobs()).collect();
        let is_pinned = |digest: &Digest| self.pins.get(digest).is_some_and(|pins| *pins > 0);
        self.blobs
            .retain(|digest| !selected(digest) || referenced.contains(digest) || is_pinned(digest));
    }

    fn reopen(&mut self) {
        self.pins.clear();
        self.drop_blobs(|_| true);
    }

    fn page(&self, query: &RecordQuery) -> (Vec<Record>, Option<EvaluationId>) {
        let mut records = self.records();
        if query.newest_first {
            records.reverse();
        }
        records.retain(|record| {
            let comes_after = query.after.is_none_or(|after| {
                if query.newest_first { record.id < after } else { record.id > after }
            });
            comes_after && query.matches(record)
        });
        let more = records.len() > query.page_size();
        records.truncate(query.page_size());
        let next = records.last().map(|record| record.id).filter(|_| more);
        (records, next)
    }
}

struct Pair<S> {
    /// `None` while the storage is opened again.
    storage: Option<S>,
    model: Model,
    ids: Vec<EvaluationId>,
}

fn refused(id: EvaluationId) -> impl Fn(StorageError) -> Refused {
    move |error| match error {
        StorageError::Conflict { evaluation, actual, .. } if evaluation == id => {
            Refused::Conflict(actual)
        }
        StorageError::Transition { evaluation, source } if evaluation == id => {
            Refused::Transition(source)
        }
        StorageError::NotEnded { evaluation, state } if evaluation == id => {
            Refused::NotEnded(state)
        }
        StorageError::KeyTaken { existing, .. } => Refused::KeyTaken(existing),
        other => panic!("{other:?}"),
    }
}

impl<S: TestedStorage> Pair<S> {
    fn new(storage: S) -> Self {
        Self {
            storage: Some(storage),
            model: Model::default(),
            ids: (0..SLOTS).map(|_| EvaluationId::new()).collect(),
        }
    }

    fn storage(&self) -> &S {
        self.storage.as_ref().unwrap()
    }

    /// Returns events that continue a journal, apart from their flaws.
    fn events(&self, slot: usize, generated: &[(Kind, Flaw)]) -> Vec<Event> {
        let record = self.model.record(self.ids[slot]);
        let mut sequence = record.as_ref().map_or(0, |record| record.sequence);
        let mut head = record.map_or(Digest::ZERO, |record| record.head);
        generated
            .iter()
            .map(|(kind, flaw)| {
                sequence += if matches!(flaw, Flaw::Sequence) { 2 } else { 1 };
                let previous =
                    if matches!(flaw, Flaw::Chain) { Digest::of(b"another") } else { head };
                let foreign = matches!(flaw, Flaw::Foreign);
                let id = self.ids[if foreign { (slot + 1) % SLOTS } else { slot }];
                let event = Event::sealed(
                    id,
                    sequence,
                    Timestamp::from_micros(sequence),
                    event_kind(*kind),
                    previous,
                );
                head = event.hash;
                event
            })
            .collect()
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Append { slot, off, events } => self.append(slot, off, &events).await,
            Op::Query { states, tenant, label, after, newest, limit } => {
                let mut query = RecordQuery::new().with_limit(limit);
                query.states = states;
                query.tenant = tenant.map(|tenant| tenant.to_string());
                if let Some(label) = label {
                    query = query.with_label("l", label.to_string());
                }
                query.after = after.map(|slot| self.ids[slot]);
                query.newest_first = newest;
                let page = self.storage().records(&query).await.unwrap();
                assert_eq!((page.records, page.next), self.model.page(&query));
            }
            Op::Journal { slot, after } => {
                let journal = self.storage().journal(self.ids[slot], after).await.unwrap();
                let model = self.model.journals.get(&self.ids[slot]).cloned().unwrap_or_default();
                assert_eq!(
                    journal,
                    model.into_iter().filter(|event| event.sequence > after).collect::<Vec<_>>()
                );
            }
            Op::PutBlob { content } => self.put_blob(content).await,
            Op::Blob { content } => {
                let bytes = bytes_of(content);
                let digest = Digest::of(&bytes);
                let found = self.storage().blob(digest).await.unwrap();
                assert_eq!(found, self.model.blobs.contains(&digest).then_some(bytes));
            }
            Op::Remove { slot, off } => {
                let id = self.ids[slot];
                let expected = self.length(id).saturating_add_signed(off);
                let answer = self.storage().remove(id, expected).await.map_err(refused(id));
                assert_eq!(answer, self.model.remove(id, expected));
            }
            Op::Reopen => {
                let storage = self.storage.take().unwrap();
                self.storage = Some(storage.reopen().await);
                if S::IS_DURABLE {
                    self.model.reopen();
                }
            }
        }
        for id in &self.ids {
            assert_eq!(self.storage().record(*id).await.unwrap(), self.model.record(*id));
        }
    }

    fn length(&self, id: EvaluationId) -> u64 {
        self.model.journals.get(&id).map_or(0, Vec::len) as u64
    }

    async fn put_blob(&mut self, content: u8) {
        let digest = Digest::of(&bytes_of(content));
        assert_eq!(self.storage().put_blob(bytes_of(content)).await.unwrap(), digest);
        self.model.put_blob(digest);
    }

    async fn append(&mut self, slot: usize, off: i64, generated: &[(Kind, Flaw)]) {
        let id = self.ids[slot];
        let events = self.events(slot, generated);
        for (kind, _) in generated {
            if let Kind::Finished { artifact: Some(content), .. } = kind {
                self.put_blob(*content).await;
            }
        }
        let expected = self.length(id).saturating_add_signed(off);
        let answer = self.storage().append(id, expected, events.clone()).await.map_err(refused(id));
        assert_eq!(answer, self.model.append(id, expected, &events));
    }
}

fn check<S: TestedStorage>(open: impl AsyncFnOnce() -> S, ops: Vec<Op>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut pair = Pair::new(open().await);
        for op in ops {
            pair.step(op).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_calls_to_memory_storage_match_model(ops in proptest::collection::vec(op(), 1..60)) {
        check(async || MemoryStorage::new(), ops);
    }
}

#[cfg(feature = "durable")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn random_calls_to_durable_storage_match_model(
        ops in proptest::collection::vec(op(), 1..60)
    ) {
        let location = storage_fixture::memory();
        check(async || storage_fixture::StorageFixture::open(&location).await, ops);
    }
}

// On a disk, reopening takes most of the time, so there are fewer cases.
#[cfg(feature = "durable")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn random_calls_over_redb_match_model(ops in proptest::collection::vec(op(), 1..60)) {
        check(async || storage_fixture::StorageFixture::open(&storage_fixture::redb()).await, ops);
    }

    #[test]
    fn random_calls_over_sled_match_model(ops in proptest::collection::vec(op(), 1..60)) {
        check(async || storage_fixture::StorageFixture::open(&storage_fixture::sled()).await, ops);
    }
}
