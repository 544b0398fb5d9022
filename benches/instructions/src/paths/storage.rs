//! The memory storage.

use std::hint::black_box;

use crucible_core::{EvaluationId, Event, Record, Storage as _};
use crucible_storage::MemoryStorage;

use super::{Step, journal, platform};

pub(super) fn append(steps: usize) -> Step {
    let (runtime, storage) = (platform::runtime(), MemoryStorage::new());
    let mut journals: Vec<_> = (0..steps).map(|_| complete_journal(EvaluationId::new())).collect();
    Box::new(move || {
        let journal = journals.pop().expect("a journal for each step");
        runtime.block_on(async {
            let id = journal.first().expect("an entry").evaluation;
            for (expected, event) in (0..).zip(journal) {
                storage.append(id, expected, vec![event]).await.expect("it is stored");
            }
            black_box(storage.record(id).await.expect("a storage").expect("a record"));
        });
    })
}

/// Creates a complete journal.
fn complete_journal(id: EvaluationId) -> Vec<Event> {
    let mut journal = vec![journal::submitted(id)];
    for kind in journal::kinds() {
        let record = Record::fold(&journal).expect("a journal").expect("a record");
        journal.push(record.next(kind));
    }
    journal
}
