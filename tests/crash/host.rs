//! The host process: this test program, started again, submits and runs evaluations until it is
//! killed.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crucible::model::{Collect, Layer};
use crucible::storage::{DataDirectory, DataDirectoryOptions, Durability};
use crucible::subprocess::SubprocessBuilder;
use crucible::{Crucible, Engine as _, Evaluation, SubprocessEngine};

use crate::StoreKind;

/// The variable with the data directory. It makes this test program a host.
pub(crate) const DIRECTORY: &str = "CRUCIBLE_CRASH_DIRECTORY";
/// The variable with the kind of store.
pub(crate) const KIND: &str = "CRUCIBLE_CRASH_KIND";
/// The variable with a lease in milliseconds. The host then submits a few evaluations and ends
/// after them.
pub(crate) const LEASE: &str = "CRUCIBLE_CRASH_LEASE_MS";

/// The number of concurrent submitters.
const SUBMITTERS: usize = 4;

/// The body of the host process. It is not a test by itself.
#[test]
fn host() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let kind = if std::env::var_os(KIND).is_some_and(|kind| kind == "sled") {
        StoreKind::Sled
    } else {
        StoreKind::Default
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::var_os(LEASE).is_some() {
        runtime.block_on(run_with_short_lease(Path::new(&directory), kind));
    } else {
        runtime.block_on(submit_forever(Path::new(&directory), kind));
    }
}

/// Opens a data directory. sled survives the end of its process but no power cut, so it needs
/// weaker options.
pub(crate) async fn open(path: &Path, kind: StoreKind) -> DataDirectory {
    let opened = match kind {
        StoreKind::Default => DataDirectory::open(path).await,
        StoreKind::Sled => {
            let options = DataDirectoryOptions::new().with_durability(Durability::Process);
            DataDirectory::open_on(path, options, |map| crucible_kv::SledBackend::open(map)).await
        }
    };
    opened.unwrap_or_else(|error| panic!("{}", crucible::model::error_chain(&error)))
}

/// Returns a platform on the directory, with every layer that this user can enable.
pub(crate) async fn platform(directory: &DataDirectory) -> Crucible {
    Crucible::builder()
        .engine("subprocess", engine())
        .storage(directory.storage())
        .queue(directory.queue())
        .workers(4)
        // Repeated kills must not make an evaluation a dead letter.
        .max_expired_leases(u32::MAX)
        .build()
        .unwrap()
}

/// Returns an engine that waives exactly the unavailable layers.
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

/// Prints `ack ID` after each accepted evaluation.
async fn submit_forever(path: &Path, kind: StoreKind) {
    print_line("opening");
    let directory = open(path, kind).await;
    print_line("opened");
    let platform = platform(&directory).await;
    platform.recover().await.unwrap();
    print_line("recovered");
    let submit = |submitter: usize| {
        let platform = &platform;
        async move {
            for n in 0.. {
                match platform.submit(evaluation(submitter + SUBMITTERS * n)).await {
                    Ok(handle) => print_line(&format!("ack {}", handle.id())),
                    Err(crucible::platform::SubmitError::Queue(
                        crucible::queue::QueueError::Full { .. },
                    )) => {}
                    Err(error) => panic!("{}", crucible::model::error_chain(&error)),
                }
                // Limit the depth, so that the last host can finish everything.
                while platform.stats().await.unwrap().queue.depth() > 20 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    };
    futures::future::join_all((0..SUBMITTERS).map(submit)).await;
}

/// Prints `ended ID` after each of a few evaluations. They run longer than the test needs to stop
/// this process.
async fn run_with_short_lease(path: &Path, kind: StoreKind) {
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
    print_line("started");
    for handle in handles {
        handle.outcome().await.unwrap();
        print_line(&format!("ended {}", handle.id()));
    }
    platform.shutdown(Duration::from_secs(60)).await;
    drop(platform);
    directory.close().await.unwrap();
    print_line("closed");
}

/// Returns a short or long evaluation with small or large results.
fn evaluation(n: usize) -> Evaluation {
    match n % 4 {
        0 => Evaluation::shell(format!("exit {}", n % 7)),
        1 => Evaluation::shell("sleep 0.05; echo slept"),
        // The output is larger than an inline journal entry.
        2 => Evaluation::shell(format!(
            "i=0; while [ $i -lt 1500 ]; do echo {n} line $i; i=$((i+1)); done"
        )),
        _ => Evaluation::shell(format!("head -c 200000 /dev/urandom > out; echo {n} >> out"))
            .with_collect(Collect::matching(["out"])),
    }
}

/// Prints a line with one write, so that the test never reads a part of it.
fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // The reader may end before this process.
    let _written = stdout.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| stdout.flush());
}
