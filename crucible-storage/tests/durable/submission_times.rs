//! Queries for a time give what was submitted then, wherever spans begin and end.

use crucible_core::{
    Digest, Evaluation, EvaluationId, Event, EventKind, Record, RecordQuery, Storage as _,
    Timestamp,
};

use crate::events::{all, append, finished, started};
use crate::storage_fixture::{StorageFixture, memory};

const SECOND: u64 = 1_000_000;
const LONG: u64 = 600 * SECOND;

async fn put_at(kept: &StorageFixture, micros: u64) -> Record {
    let id = EvaluationId::new();
    let kind = EventKind::Submitted { evaluation: Evaluation::command(["true"]).into() };
    let event = Event::sealed(id, 1, Timestamp::from_micros(micros), kind, Digest::ZERO);
    kept.append(id, 0, vec![event]).await.unwrap()
}

async fn check(kept: &StorageFixture, records: &[Record], edges: &[u64]) {
    let moment = |edge: Option<&u64>| edge.copied().map(Timestamp::from_micros);
    let ends: Vec<_> = edges.iter().map(Some).chain([None]).collect();
    for from in &ends {
        for before in &ends {
            let query = RecordQuery::new().with_submitted(moment(*from), moment(*before));
            let expected: Vec<_> =
                records.iter().filter(|record| query.matches(record)).cloned().collect();
            assert_eq!(all(kept, &query.clone().with_limit(7)).await, expected, "{query:?}");
            let mut newest_first = all(kept, &query.clone().with_newest_first()).await;
            newest_first.reverse();
            assert_eq!(newest_first, expected, "{query:?}");
        }
    }
}

#[tokio::test]
async fn a_query_for_a_time_gives_what_was_submitted_then() {
    let kept = StorageFixture::open(&memory()).await;
    let start = 1000 * LONG;
    let edges: Vec<_> = [0, 1, 2, 5]
        .into_iter()
        .flat_map(|long| {
            [0, 1, SECOND - 1, SECOND, LONG - 1].map(|more| start + long * LONG + more)
        })
        .chain([0, u64::MAX])
        .collect();
    let mut records = Vec::new();
    // Ids need not come in the order of the times.
    for micros in edges.iter().rev().chain(&edges).step_by(3) {
        records.push(put_at(&kept, *micros).await);
    }
    check(&kept, &records, &edges).await;
    // What is left is still found when others of the same span are gone.
    for index in (0..records.len()).rev().step_by(2) {
        let record = records.remove(index);
        let record = append(&kept, &record, started()).await.unwrap();
        let record = append(&kept, &record, finished(0, None)).await.unwrap();
        assert!(kept.remove(record.id, record.sequence).await.unwrap());
    }
    check(&kept, &records, &edges).await;
}
