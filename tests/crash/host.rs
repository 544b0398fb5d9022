//! The host that is killed: this test program once more, which submits and runs until it is.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crucible::model::{Collect, Layer};
use crucible::storage::{DataDirectory, DataDirectoryOptions, Durability};
use crucible::subprocess::SubprocessBuilder;
use crucible::{Crucible, Engine as _, Evaluation, SubprocessEngine};

use crate::Kind;

/// Says to this test program that it is a host, and where.
pub(crate) const DIRECTORY: &str = "CRUCIBLE_CRASH_DIRECTORY";
pub(crate) const KIND: &str = "CRUCIBLE_CRASH_KIND";
/// Says that the host has a lease of this many milliseconds, submits a few evaluations, and ends with them.
pub(crate) const LEASE: &str = "CRUCIBLE_CRASH_LEASE_MS";

/// How many are submitted at once.
const SUBMITTERS: usize = 4;

/// No test of its own: the body of the process that is killed.
#[test]
fn host() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let kind = if std::env::var_os(KIND).is_some_and(|kind| kind == "sled") {
        Kind::Sled
    } else {
        Kind::Default
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::var_os(LEASE).is_some() {
        runtime.block_on(run_under_a_short_lease(Path::new(&directory), kind));
    } else {
        runtime.block_on(submit_for_ever(Path::new(&directory), kind));
    }
}

/// Sled survives the end of its process, not a power cut; the default survives both.
pub(crate) async fn open(path: &Path, kind: Kind) -> DataDirectory {
    let opened = match kind {
        Kind::Default => DataDirectory::open(path).await,
        Kind::Sled => {
            let options = DataDirectoryOptions::new().with_durability(Durability::Process);
            DataDirectory::open_on(path, options, |map| crucible_kv::SledBackend::open(map)).await
        }
    };
    opened.unwrap_or_else(|error| panic!("{}", crucible::model::error_chain(&error)))
}

/// A platform on the directory, with every layer that this user can have.
pub(crate) async fn platform(directory: &DataDirectory) -> Crucible {
    Crucible::builder()
        .engine("subprocess", engine())
        .storage(directory.storage())
        .queue(directory.queue())
        .workers(4)
        // So many expired_leases are no poison here.
        .max_expired_leases(u32::MAX)
        .build()
        .unwrap()
}

pub(crate) fn engine() -> SubprocessEngine {
    let with = |waived: &[Layer]| {
        waived.iter().fold(SubprocessBuilder::new(), |builder, layer| builder.waive(*layer)).build()
    };
    let missing = match with(&[]) {
        Ok(engine) => return engine,
        Err(crucible::engine::EngineError::LayerUnavailable { missing }) => missing,
        Err(error) => panic!("{}", crucible::model::error_chain(&error)),
    };
    let waived: Vec<Layer> = missing.iter().map(|missing| missing.layer).collect();
    let engine =
        with(&waived).unwrap_or_else(|error| panic!("{}", crucible::model::error_chain(&error)));
    assert!(engine.info().enforcement.enforces(Layer::Seccomp));
    engine
}

/// Says `ack ID` for each evaluation that was accepted, once it was.
async fn submit_for_ever(path: &Path, kind: Kind) {
    say("opening");
    let directory = open(path, kind).await;
    say("opened");
    let platform = platform(&directory).await;
    platform.recover().await.unwrap();
    say("recovered");
    let submit = |submitter: usize| {
        let platform = &platform;
        async move {
            for n in 0.. {
                match platform.submit(evaluation(submitter + SUBMITTERS * n)).await {
                    Ok(handle) => say(&format!("ack {}", handle.id())),
                    Err(crucible::platform::SubmitError::Queue(
                        crucible::queue::QueueError::Full { .. },
                    )) => {}
                    Err(error) => panic!("{}", crucible::model::error_chain(&error)),
                }
                // No more than can be run, so that there is an end to it.
                while platform.stats().await.unwrap().queue.depth() > 20 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    };
    futures::future::join_all((0..SUBMITTERS).map(submit)).await;
}

/// Says `ended STATE` for each of a few evaluations that take longer than it takes to stop this process.
async fn run_under_a_short_lease(path: &Path, kind: Kind) {
    let lease: u64 = std::env::var(LEASE).unwrap().parse().unwrap();
    let directory = open(path, kind).await;
    let platform = Crucible::builder()
        .engine("subprocess", engine())
        .storage(directory.storage())
        .queue(directory.queue())
        .workers(4)
        .lease(Duration::from_millis(lease))
        .max_expired_leases(u32::MAX)
        .build()
        .unwrap();
    let mut handles = Vec::new();
    for _ in 0..4 {
        let evaluation = Evaluation::shell("sleep 1; echo done");
        handles.push(platform.submit(evaluation).await.unwrap());
    }
    for handle in &handles {
        let mut events = handle.events();
        while let Some(Ok(event)) = futures::StreamExt::next(&mut events).await {
            if event.kind.name() == "started" {
                break;
            }
        }
    }
    say("started");
    for handle in handles {
        handle.outcome().await.unwrap();
        say(&format!("ended {}", handle.id()));
    }
    platform.shutdown(Duration::from_secs(60)).await;
    drop(platform);
    directory.close().await.unwrap();
    say("closed");
}

/// Short and long, with much and little to keep.
fn evaluation(n: usize) -> Evaluation {
    match n % 4 {
        0 => Evaluation::shell(format!("exit {}", n % 7)),
        1 => Evaluation::shell("sleep 0.05; echo slept"),
        // More than is kept in the map.
        2 => Evaluation::shell(format!(
            "i=0; while [ $i -lt 1500 ]; do echo {n} line $i; i=$((i+1)); done"
        )),
        _ => Evaluation::shell(format!("head -c 200000 /dev/urandom > out; echo {n} >> out"))
            .with_collect(Collect::matching(["out"])),
    }
}

/// A line that the killer can count on: it is written as a whole or not at all.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // Whoever reads it is gone when this process is about to be.
    let _written = stdout.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| stdout.flush());
}
