//! Events and evaluations for the tests.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use crucible_core::{
    Artifact, Captured, Digest, Evaluation, EvaluationId, Event, EventKind, Outcome, Record,
    RecordQuery, RecordState, SandboxPath, Storage, StorageError, StorageExt as _, Timestamp,
    WorkerId, verify_storage,
};
use crucible_kv::testing::MemoryBackend;
use futures::TryStreamExt as _;

use crate::storage_fixture::StorageFixture;

/// Returns a start.
pub(crate) fn started() -> EventKind {
    EventKind::Started { attempt: 1, worker: WorkerId::new("w"), engine: "fake".to_owned() }
}

/// Returns an ending with output of a length, and with an artifact of these bytes.
pub(crate) fn finished(output: usize, artifact: Option<&[u8]>) -> EventKind {
    let artifacts = artifact.map(|content| {
        let path = SandboxPath::new("result").unwrap();
        let mut artifact = Artifact::new(path, Bytes::copy_from_slice(content), false);
        artifact.content = None;
        artifact
    });
    let output = Captured::complete(vec![b'o'; output].into());
    let outcome = Outcome::new("fake", Vec::new())
        .with_output(output, Captured::empty())
        .with_artifacts(artifacts.into_iter().collect(), Vec::new());
    EventKind::Finished { outcome: Arc::new(outcome) }
}

/// Submits an evaluation.
pub(crate) async fn put(
    storage: &dyn Storage,
    evaluation: Evaluation,
) -> Result<Record, StorageError> {
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: Arc::new(evaluation) };
    storage.append(id, 0, vec![Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO)]).await
}

/// Appends an event to a journal.
pub(crate) async fn append(
    storage: &dyn Storage,
    record: &Record,
    kind: EventKind,
) -> Result<Record, StorageError> {
    storage.append(record.id, record.sequence, vec![record.next(kind)]).await
}

/// Submits, starts and finishes an evaluation.
pub(crate) async fn run(
    storage: &dyn Storage,
    evaluation: Evaluation,
    output: usize,
    artifact: Option<&[u8]>,
) -> Result<Record, StorageError> {
    if let Some(content) = artifact {
        storage.put_blob(Bytes::copy_from_slice(content)).await?;
    }
    let record = put(storage, evaluation).await?;
    let record = append(storage, &record, started()).await?;
    append(storage, &record, finished(output, artifact)).await
}

/// Returns all records of a query.
pub(crate) async fn all(storage: &dyn Storage, query: &RecordQuery) -> Vec<Record> {
    let records = storage.records_stream(query.clone());
    records.map_ok(Result::unwrap).try_collect().await.unwrap()
}

/// Asserts that journals, records and indexes are consistent, and that exactly the referenced files
/// exist.
pub(crate) async fn assert_consistent(fixture: &StorageFixture, disk: &MemoryBackend) {
    let found = verify_storage(fixture).await.unwrap();
    assert!(found.is_sound(), "{found:?}");
    let records = all(fixture, &RecordQuery::new()).await;
    let tenants: BTreeSet<_> =
        records.iter().map(|record| record.evaluation.tenant.clone()).collect();
    let labels: BTreeSet<_> =
        records.iter().flat_map(|record| record.evaluation.labels.clone()).collect();
    let mut queries: Vec<_> =
        RecordState::ALL.map(|state| RecordQuery::new().with_state(state)).to_vec();
    queries.extend(tenants.into_iter().map(|tenant| RecordQuery::new().with_tenant(tenant)));
    queries
        .extend(labels.into_iter().map(|(name, value)| RecordQuery::new().with_label(name, value)));
    if let Some(record) = records.get(records.len() / 2) {
        queries.push(RecordQuery::new().with_submitted(Some(record.submitted_at), None));
    }
    for query in queries {
        let expected: Vec<_> =
            records.iter().filter(|record| query.matches(record)).cloned().collect();
        assert_eq!(all(fixture, &query).await, expected, "{query:?}");
    }
    let entries = disk.entries();
    let keys = |space: &'static [u8]| entries.keys().filter(move |key| key.starts_with(space));
    assert_eq!(keys(b"se").filter(|key| key.ends_with(&[0; 8])).count(), records.len());
    let expected: usize = records
        .iter()
        .map(|record| {
            2 + record.evaluation.labels.len() + usize::from(record.state == RecordState::Running)
        })
        .sum();
    let index_keys =
        [&b"ss"[..], b"st", b"sl"].map(|space| keys(space).count()).iter().sum::<usize>();
    assert_eq!(index_keys, expected, "the indexes contain no other keys");
    let referenced: BTreeSet<_> = keys(b"sr")
        .map(|key| Digest::from_bytes(key[2..].try_into().unwrap()).to_string())
        .collect();
    let files: BTreeSet<_> = fixture
        .location
        .blob_files()
        .into_iter()
        .map(|file| {
            let name =
                |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
            format!("{}{}", name(file.parent().unwrap()), name(&file))
        })
        .collect();
    assert_eq!(files, referenced);
}
