//! Pages during concurrent state changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crucible_core::{Evaluation, RecordQuery, Storage as _};

use crate::events::{all, append, finished, put, started};
use crate::storage_fixture::{StorageFixture, memory};

const COUNT: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_complete_during_state_changes() {
    let fixture = StorageFixture::open(&memory()).await;
    let mut records = Vec::new();
    for _ in 0..COUNT {
        records.push(put(&fixture, Evaluation::command(["true"]).with_tenant("a")).await.unwrap());
    }
    let done = Arc::new(AtomicBool::new(false));
    let mover = tokio::spawn({
        let (fixture, done) = (fixture.clone(), Arc::clone(&done));
        async move {
            for record in records {
                let record = append(&fixture, &record, started()).await.unwrap();
                append(&fixture, &record, finished(0, None)).await.unwrap();
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    let mut rounds = 0;
    while !done.load(Ordering::SeqCst) || rounds == 0 {
        for query in [RecordQuery::new(), RecordQuery::new().with_tenant("a").with_newest_first()] {
            assert_eq!(all(&fixture, &query.with_limit(1000)).await.len(), COUNT);
            rounds += 1;
        }
    }
    mover.await.unwrap();
    assert_eq!(fixture.records(&RecordQuery::new()).await.unwrap().records.len(), 100);
}
