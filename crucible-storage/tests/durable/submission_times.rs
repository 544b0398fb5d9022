//! Queries by submission time, with bounds at all edges of the time buckets.

use crucible_core::{
    Digest, Evaluation, EvaluationId, Event, EventKind, Record, RecordQuery, Storage as _,
    Timestamp,
};

use crate::events::{all, append, finished, started};
use crate::storage_fixture::{StorageFixture, memory};

const SECOND: u64 = 1_000_000;
const LONG: u64 = 600 * SECOND;

async fn put_at(fixture: &StorageFixture, micros: u64) -> Record {
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: Evaluation::command(["true"]).into() };
    let event = Event::sealed(id, 1, Timestamp::from_micros(micros), kind, Digest::ZERO);
    fixture.append(id, 0, vec![event]).await.unwrap()
}

async fn check(fixture: &StorageFixture, records: &[Record], edges: &[u64]) {
    let time = |edge: Option<&u64>| edge.copied().map(Timestamp::from_micros);
    let ends: Vec<_> = edges.iter().map(Some).chain([None]).collect();
    for from in &ends {
        for before in &ends {
            let query = RecordQuery::new().with_submitted(time(*from), time(*before));
            let expected: Vec<_> =
                records.iter().filter(|record| query.matches(record)).cloned().collect();
            assert_eq!(all(fixture, &query.clone().with_limit(7)).await, expected, "{query:?}");
            let mut newest_first = all(fixture, &query.clone().with_newest_first()).await;
            newest_first.reverse();
            assert_eq!(newest_first, expected, "{query:?}");
        }
    }
}

#[tokio::test]
async fn time_query_returns_submissions_in_range() {
    let fixture = StorageFixture::open(&memory()).await;
    let start = 1000 * LONG;
    let edges: Vec<_> = [0, 1, 2, 5]
        .into_iter()
        .flat_map(|long| {
            [0, 1, SECOND - 1, SECOND, LONG - 1].map(|more| start + long * LONG + more)
        })
        .chain([0, u64::MAX])
        .collect();
    let mut records = Vec::new();
    // Ids do not have to be in the order of the times.
    for micros in edges.iter().rev().chain(&edges).step_by(3) {
        records.push(put_at(&fixture, *micros).await);
    }
    check(&fixture, &records, &edges).await;
    // The remaining records are found after others of the same bucket were removed.
    for index in (0..records.len()).rev().step_by(2) {
        let record = records.remove(index);
        let record = append(&fixture, &record, started()).await.unwrap();
        let record = append(&fixture, &record, finished(0, None)).await.unwrap();
        assert!(fixture.remove(record.id, record.sequence).await.unwrap());
    }
    check(&fixture, &records, &edges).await;
}
