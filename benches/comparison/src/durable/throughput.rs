//! Durable throughput: submits, and claims with finishes, that survive a power cut, with 16
//! writers.
//!
//! The peers are a bare log file with group commit and fdatasync(2), SQLite, and Redis, all on the
//! disk of the target directory, interleaved in random order: `ci/bench durable-throughput
//! [--rounds N]`. Run it on a quiet machine and compare the ratios.
//!
//! - **submit**: one record of about 1 KiB and one ticket. The call returns when both are durable.
//! - **claim and finish**: one ticket is claimed, its start and its end are made durable, and the
//!   ticket is removed. For the log: two records.
//!
//! SQLite (WAL, `synchronous=FULL`) has one writer thread with group commit. Redis
//! (`appendfsync always`) has one stream and one connection per writer; it is skipped if
//! `redis-server` is not installed.

#![expect(clippy::expect_used, reason = "a benchmark that fails has nothing to report")]

#[path = "crucible.rs"]
mod crucible_store;
#[path = "log.rs"]
mod log;
#[path = "redis.rs"]
mod redis;
#[path = "sqlite.rs"]
mod sqlite;
#[path = "subject.rs"]
mod subject;
#[expect(dead_code, reason = "each benchmark uses a part of the shared code")]
#[path = "../../../support/mod.rs"]
mod support;

use std::sync::Arc;

use support::{Order, rounds_or};

pub(crate) use subject::{Step, Subject, WRITERS, payload};
use subject::{median, rate};

fn main() -> Result<(), String> {
    let rounds = rounds_or(10)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let scratch = tempfile::tempdir_in(subject::target_directory()).expect("a directory");
    let place = |name: &str| scratch.path().join(name);
    let mut subjects: Vec<Arc<dyn Subject>> = vec![
        Arc::new(log::Log::new(&place("log"))),
        Arc::new(runtime.block_on(crucible_store::Stores::open(&place("crucible")))),
        Arc::new(sqlite::Sqlite::open(&place("sqlite"))),
    ];
    match runtime.block_on(redis::Redis::start(&place("redis"))) {
        Some(redis) => subjects.push(Arc::new(redis)),
        None => println!("Redis: SKIPPED, redis-server is not installed"),
    }
    let mut figures = vec![(Vec::new(), Vec::new()); subjects.len()];
    let mut order = Order::new();
    for _ in 0..rounds {
        for at in order.shuffled(subjects.len()) {
            if let (Some(subject), Some((submits, cycles))) =
                (subjects.get(at), figures.get_mut(at))
            {
                submits.push(
                    runtime.block_on(rate(subject, |subject, writer| subject.submit(writer))),
                );
                cycles
                    .push(runtime.block_on(rate(subject, |subject, writer| subject.cycle(writer))));
            }
        }
    }
    println!(
        "{WRITERS} writers, {rounds} rounds; medians per second; in brackets the ratio to the log"
    );
    let log = figures
        .first_mut()
        .map(|(submits, cycles)| (median(submits), median(cycles)))
        .expect("the log");
    for (subject, (submits, cycles)) in subjects.iter().zip(&mut figures) {
        let (submit, cycle) = (median(submits), median(cycles));
        println!(
            "{:<28} submit {submit:>8.0} ({:.2})   claim and finish {cycle:>8.0} ({:.2})",
            subject.name(),
            submit / log.0,
            cycle / log.1
        );
    }
    Ok(())
}
