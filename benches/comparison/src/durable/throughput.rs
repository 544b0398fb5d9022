//! How many evaluations a second can be accepted, and taken and ended, so that a power cut loses none: by 16 at once, beside a
//! log of our own with group commit and fdatasync(2), SQLite, and Redis. All on the disk of the target directory, in one run,
//! in a new order each round: `ci/bench durable-throughput [--rounds N]`. Run it on a quiet machine, and read the
//! ratios.
//!
//! - **submit**: one record of about 1 KiB and one ticket, of which the caller hears once both survive.
//! - **claim and finish**: the next ticket is taken, "it runs" is written and survives, its end is written and survives, the
//!   ticket goes. For the log: two records.
//!
//! SQLite (WAL, `synchronous=FULL`) is used in its best way: by one thread, which commits what waits as one transaction. Redis
//! (`appendfsync always`) has a stream, and a connection for each of the 16; it is left out where there is no `redis-server`.

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
        None => println!("redis-server is not installed: it is left out"),
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
        "{WRITERS} at once, {rounds} rounds; a second, median; in brackets the ratio to the log"
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
