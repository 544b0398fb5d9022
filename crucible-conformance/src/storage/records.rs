//! Cases on pages of records.

use crucible_core::{EvaluationId, Record, RecordPage, RecordQuery, RecordState, Timestamp};

use super::support::{Subject, append, evaluation, put, put_that, started, way_to};

fn ids(records: &[Record]) -> Vec<EvaluationId> {
    records.iter().map(|record| record.id).collect()
}

async fn page(storage: &Subject, query: &RecordQuery) -> RecordPage {
    storage.records(query).await.unwrap()
}

/// Returns the ids of all records of a query, page by page.
async fn all(storage: &Subject, query: &RecordQuery) -> Vec<EvaluationId> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let RecordPage { records, next, .. } = page(storage, &query).await;
        let some = ids(&records);
        assert!(some.len() <= query.page_size());
        assert!(next.is_none() || next == some.last().copied(), "{next:?} after {some:?}");
        all.extend(some);
        match next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

/// Submits evaluations and brings them into each state in turn.
async fn put_many(storage: &Subject, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for state in RecordState::ALL.into_iter().cycle().take(count) {
        let record = put(storage).await;
        records.push(append(storage, &record, way_to(state)).await.unwrap());
    }
    records
}

/// Records are sorted by id, which is the order of submission, or in reverse.
pub async fn records_are_sorted_by_id_in_either_direction(storage: Subject) {
    assert_eq!(page(&storage, &RecordQuery::new()).await, RecordPage::new(Vec::new(), None));
    let mut records = put_many(&storage, 25).await;
    let newest_first = RecordQuery::new().with_newest_first();
    for query in [RecordQuery::new(), newest_first] {
        let RecordPage { records: found, next, .. } = page(&storage, &query).await;
        assert_eq!(ids(&found), ids(&records));
        assert_eq!(next, None, "the page has all records");
        assert!(found == records, "each equals the result of `record`");
        records.reverse();
    }
}

/// Following `next` returns every record once, in both directions, with and without conditions, for
/// every page size.
pub async fn paging_returns_every_record_once(storage: Subject) {
    let records = put_many(&storage, 24).await;
    let few = RecordQuery::new().with_state(RecordState::Running).with_state(RecordState::Expired);
    let expected: Vec<_> =
        records.iter().filter(|record| few.matches(record)).map(|record| record.id).collect();
    assert_eq!(expected.len(), 8);
    for limit in [1, 2, 5, 23, 24, 25] {
        assert_eq!(all(&storage, &RecordQuery::new().with_limit(limit)).await, ids(&records));
        assert_eq!(all(&storage, &few.clone().with_limit(limit)).await, expected);
        let mut newest_first =
            all(&storage, &few.clone().with_newest_first().with_limit(limit)).await;
        newest_first.reverse();
        assert_eq!(newest_first, expected);
    }
    // A cursor need not match the query, and need not exist.
    let queued = records[12].id;
    let later: Vec<_> = expected.into_iter().filter(|id| *id > queued).collect();
    assert_eq!(all(&storage, &few.clone().with_after(queued)).await, later);
    assert_eq!(
        page(&storage, &few.with_after(EvaluationId::new())).await,
        RecordPage::new(Vec::new(), None)
    );
}

/// A record that always matches is returned once, while other records are added and change between
/// two pages.
pub async fn paging_during_writes_returns_stable_records_once(storage: Subject) {
    let records = put_many(&storage, 60).await;
    let steady: Vec<_> = ids(&records)
        .into_iter()
        .zip(&records)
        .filter(|(_, record)| record.state == RecordState::Queued)
        .map(|(id, _)| id)
        .collect();
    let mut passing = Vec::new();
    for _ in 0..10 {
        passing.push(put(&storage).await);
    }
    let mut query = RecordQuery::new().with_state(RecordState::Queued).with_limit(2);
    let mut seen = Vec::new();
    loop {
        let RecordPage { records, next, .. } = page(&storage, &query).await;
        seen.extend(ids(&records));
        if let Some(record) = passing.pop() {
            append(&storage, &record, vec![started(1)]).await.unwrap();
            put(&storage).await;
        }
        match next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, seen, "the records are in order, and each occurs once");
    for id in steady {
        assert!(seen.contains(&id), "{id} matched all the time");
    }
}

/// A query returns exactly the matching records.
pub async fn query_returns_exactly_the_matching_records(storage: Subject) {
    let mut records = Vec::new();
    for (number, state) in RecordState::ALL.into_iter().cycle().take(48).enumerate() {
        let mut evaluation = evaluation().with_tenant(["", "a", "b"][number / 6 % 3]);
        if number % 4 > 0 {
            evaluation = evaluation.with_label("course", ["x", "y"][number % 2]);
        }
        if number % 5 > 0 {
            evaluation = evaluation.with_label("task", "x");
        }
        let record = put_that(&storage, evaluation).await.unwrap();
        records.push(append(&storage, &record, way_to(state)).await.unwrap());
    }
    let (early, late) = (records[10].submitted_at, records[40].submitted_at);
    let queries = [
        RecordQuery::new().with_state(RecordState::Failed),
        RecordQuery::new().with_state(RecordState::Queued).with_state(RecordState::Finished),
        RecordQuery::new().with_tenant(""),
        RecordQuery::new().with_tenant("a"),
        RecordQuery::new().with_label("course", "x"),
        RecordQuery::new().with_label("course", "x").with_label("task", "x"),
        RecordQuery::new().with_submitted(Some(early), Some(late)),
        RecordQuery::new().with_submitted(Some(late), None),
        RecordQuery::new().with_submitted(None, Some(early)),
        RecordQuery::new()
            .with_state(RecordState::Running)
            .with_tenant("b")
            .with_label("task", "x"),
    ];
    for query in queries {
        let expected: Vec<_> =
            records.iter().filter(|record| query.matches(record)).map(|record| record.id).collect();
        assert!(
            !expected.is_empty() && expected.len() < records.len(),
            "{query:?} selects a part of the records"
        );
        assert_eq!(all(&storage, &query.clone().with_limit(3)).await, expected, "{query:?}");
        let mut newest_first = all(&storage, &query.clone().with_newest_first()).await;
        newest_first.reverse();
        assert_eq!(newest_first, expected, "{query:?}");
    }
    for query in [
        RecordQuery::new().with_tenant("c"),
        RecordQuery::new().with_label("course", ""),
        RecordQuery::new().with_label("", "x"),
        RecordQuery::new().with_submitted(Some(Timestamp::from_micros(u64::MAX)), None),
        RecordQuery::new().with_submitted(None, Some(Timestamp::from_micros(0))),
    ] {
        assert_eq!(page(&storage, &query).await, RecordPage::new(Vec::new(), None), "{query:?}");
    }
}

/// A page has at most the requested and the maximum number of records. It has at least one record
/// if one matches.
pub async fn page_respects_requested_and_maximum_size(storage: Subject) {
    for _ in 0..=RecordQuery::LIMIT_MAX {
        put(&storage).await;
    }
    for (limit, expected) in [
        (0, 1),
        (1, 1),
        (7, 7),
        (RecordQuery::LIMIT_MAX, RecordQuery::LIMIT_MAX),
        (usize::MAX, RecordQuery::LIMIT_MAX),
    ] {
        let RecordPage { records, next, .. } =
            page(&storage, &RecordQuery::new().with_limit(limit)).await;
        assert_eq!(records.len(), expected);
        assert_eq!(next, records.last().map(|record| record.id), "more records follow");
    }
    assert_eq!(page(&storage, &RecordQuery::new()).await.records.len(), 100, "the default");
}
