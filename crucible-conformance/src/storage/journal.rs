//! Cases on reading journals.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    Artifact, Captured, Ending, Evaluation, EvaluationId, EventKind, Evidence, Outcome, Priority,
    SandboxPath, verify_against,
};

use super::support::{Subject, append, put, put_that, started, way_to};

/// The entries after a sequence are in order and have no gaps.
pub async fn journal_entries_are_ordered_without_gaps(storage: Subject) {
    let mut record = put(&storage).await;
    for attempt in 1..=10 {
        let back = EventKind::Requeued { attempt, reason: crucible_core::RequeueReason::Shutdown };
        record = append(&storage, &record, vec![started(attempt), back]).await.unwrap();
    }
    let all = storage.journal(record.id, 0).await.unwrap();
    assert_eq!(
        all.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        (1..=21).collect::<Vec<_>>()
    );
    assert_eq!(verify_against(&all, record.head).unwrap(), Some(record.clone()));
    for after in [1, 2, 20, 21, 22, u64::MAX] {
        let rest: Vec<_> = all.iter().filter(|event| event.sequence > after).cloned().collect();
        assert_eq!(storage.journal(record.id, after).await.unwrap(), rest, "after {after}");
    }
}

/// Entries are read back as they were written, whatever their content.
pub async fn journal_entries_round_trip_unchanged(storage: Subject) {
    let evaluation = Evaluation::source("c", "int main(){}\n\u{0}\u{1f980}")
        .with_arg("--größe")
        .with_file("data.bin", Bytes::from((0..=255).collect::<Vec<u8>>()))
        .with_stdin(vec![0xff; 100_000])
        .with_env("HOME", "/box")
        .with_priority(Priority::High)
        .with_label("course", "")
        .with_expires_in(Duration::from_micros(1))
        .with_tenant("täglich");
    let record = put_that(&storage, evaluation.clone()).await.unwrap();
    assert_eq!(*record.evaluation, evaluation);
    let waited =
        Evidence::Waited { ending: Ending::Exited { code: 3 }, after: Duration::from_micros(7) };
    let path = SandboxPath::new("out/a.txt").unwrap();
    let mut artifact = Artifact::new(path, Bytes::from_static(b"kept as a blob"), true);
    artifact.content = None;
    let outcome = Outcome::new("fake", vec![waited])
        .with_output(
            Captured::complete(vec![0xfe; 50_000].into()),
            Captured::complete("\r\n\u{7}".into()),
        )
        .with_artifacts(vec![artifact], Vec::new());
    let end = EventKind::Finished { outcome: Arc::new(outcome) };
    let record = append(&storage, &record, vec![started(1), end]).await.unwrap();
    let journal = storage.journal(record.id, 0).await.unwrap();
    assert_eq!(verify_against(&journal, record.head).unwrap(), Some(record.clone()));
    assert!(
        matches!(&journal[0].kind, EventKind::Submitted { evaluation: kept } if **kept == evaluation)
    );
    assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
}

/// The journal of an unknown evaluation is empty.
pub async fn journal_of_unknown_evaluation_is_empty(storage: Subject) {
    let record = put(&storage).await;
    append(&storage, &record, way_to(crucible_core::RecordState::Running)).await.unwrap();
    assert_eq!(storage.journal(EvaluationId::new(), 0).await.unwrap(), []);
}
