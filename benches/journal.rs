//! The time to append to a journal, and to verify one.

#![expect(clippy::expect_used, reason = "a failed step invalidates the benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use crucible_core::{
    Digest, ErrorReport, Evaluation, EvaluationId, Event, EventKind, Record, Timestamp, WorkerId,
    verify,
};

/// The number of failed attempts in the measured journal.
const ATTEMPTS: u32 = 100;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let journal = journal_of_attempts(ATTEMPTS);
    append(&mut criterion, &journal);
    verify_journal(&mut criterion, &journal);
    criterion.final_summary();
}

/// Measures sealing the next event and folding it into the record.
fn append(criterion: &mut Criterion, journal: &[Event]) {
    let record = Record::fold(journal).expect("the journal is valid").expect("it has a record");
    criterion.bench_function("journal/append", |bencher| {
        bencher.iter_batched(
            || started(ATTEMPTS + 1),
            |kind| {
                let event = black_box(&record).next(kind);
                Record::apply(Some(&record), &event).expect("the event follows")
            },
            BatchSize::SmallInput,
        );
    });
}

/// Measures verification of hashes, links and transitions, per entry.
fn verify_journal(criterion: &mut Criterion, journal: &[Event]) {
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(journal.len() as u64));
    group.bench_function("verify", |bencher| {
        bencher.iter(|| verify(black_box(journal)).expect("the journal is valid"));
    });
    group.finish();
}

/// Returns a journal with a submission and `attempts` failed attempts.
fn journal_of_attempts(attempts: u32) -> Vec<Event> {
    let id = EvaluationId::new();
    let evaluation = Arc::new(Evaluation::python("print(6 * 7)").with_label("suite", "bench"));
    let submitted = EventKind::Submitted { evaluation };
    let mut journal = vec![Event::sealed(id, 1, Timestamp::now(), submitted, Digest::ZERO)];
    let mut record = Record::fold(&journal).expect("the journal is valid").expect("not empty");
    for attempt in 1..=attempts {
        for kind in [started(attempt), attempt_failed(attempt)] {
            let event = record.next(kind);
            record = Record::apply(Some(&record), &event).expect("the event follows");
            journal.push(event);
        }
    }
    journal
}

fn started(attempt: u32) -> EventKind {
    EventKind::Started { attempt, worker: WorkerId::new("bench"), engine: "bench".to_owned() }
}

fn attempt_failed(attempt: u32) -> EventKind {
    let error = ErrorReport::new("lost", "the sandbox was lost while running the program");
    EventKind::AttemptFailed { attempt, error, retry_in: Duration::from_secs(1) }
}
