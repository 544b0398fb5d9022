//! Compares the backends under the load of a queue and a storage.
//!
//! Run `cargo bench -p crucible-kv --all-features --bench kv [-- --rounds N] [--records N]` on an
//! idle machine, and read the ratios. All contenders run on the disk of the target directory. A
//! reference log shows the upper limit of group commit on that disk.
//!
//! The harness is not criterion, because contenders must alternate in rounds: each pays for the
//! writes that the previous one has left to the kernel.

#![allow(missing_docs, clippy::expect_used, reason = "a failed operation ends the benchmark")]

mod contenders;
mod full_store;
mod reference_log;
mod workload;

use std::path::Path;
use std::time::Duration;

use crucible_kv::Store;

use self::contenders::{CONTENDERS, Contender};
use self::reference_log::ReferenceLog;

/// The number of concurrent writers: as many as the workers of a busy host.
const WRITERS: usize = 16;

/// The duration of a round for each contender.
const ROUND: Duration = Duration::from_secs(1);

fn main() -> Result<(), String> {
    let (rounds, records) = (number("--rounds", 5)?, number("--records", 1_000_000)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = |name: &str| scratch.path().join(name);

    runtime.block_on(async {
        let log = Measured::new("log", Backing::ReferenceLog(ReferenceLog::new(&path("log"))));
        let stores = contenders().map(|contender| {
            Measured::new(contender.name, Backing::Store(contender.store(&path(contender.name))))
        });
        let mut measured: Vec<Measured> = stores.chain([log]).collect();
        for _ in 0..rounds {
            for contender in &mut measured {
                contender.measure().await;
            }
            // Rotate the order: a contender pays for unflushed writes of the previous one.
            measured.rotate_left(1);
        }
        measured.sort_by_key(|contender| matches!(contender.backing, Backing::ReferenceLog(_)));
        print(&measured, rounds);
    });
    println!("\nwith {records} records of 1 KiB and an index entry each");
    for contender in contenders().filter(|contender| contender.is_on_disk && records > 0) {
        full_store::measure(
            &runtime,
            contender,
            &path(&format!("{}-full", contender.name)),
            records as u64,
        );
    }
    Ok(())
}

/// A contender with its results.
struct Measured {
    name: &'static str,
    backing: Backing,
    submits: Vec<f64>,
    cycles: Vec<f64>,
}

enum Backing {
    Store(Store),
    ReferenceLog(ReferenceLog),
}

impl Measured {
    fn new(name: &'static str, backing: Backing) -> Self {
        Self { name, backing, submits: Vec::new(), cycles: Vec::new() }
    }

    async fn measure(&mut self) {
        let (submits, cycles) = match &self.backing {
            Backing::Store(store) => {
                (workload::submits(store).await, workload::cycles(store).await)
            }
            Backing::ReferenceLog(log) => {
                (workload::log_submits(log).await, workload::log_cycles(log).await)
            }
        };
        self.submits.push(submits);
        self.cycles.push(cycles);
    }
}

/// Prints one line for each contender. The reference log is the last.
fn print(measured: &[Measured], rounds: usize) {
    println!(
        "{WRITERS} writers, {rounds} rounds of {ROUND:?}; \
         median operations per second (ratio to the log)"
    );
    println!("{:<24} {:>20} {:>20}", "", "submit", "claim + finish");
    let Some(log) = measured.last() else { return };
    for contender in measured {
        let [submit, cycle] =
            [(&contender.submits, &log.submits), (&contender.cycles, &log.cycles)].map(
                |(figures, log)| {
                    format!("{:.0} ({:.2})", median(figures), median(figures) / median(log))
                },
            );
        println!("{:<24} {submit:>20} {cycle:>20}", contender.name);
    }
}

/// Returns all contenders, or the contenders whose name begins with the argument of `--only`.
fn contenders() -> impl Iterator<Item = &'static Contender> {
    let only =
        std::env::args().skip_while(|argument| argument != "--only").nth(1).unwrap_or_default();
    CONTENDERS.iter().filter(move |contender| contender.name.starts_with(&only))
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Returns the number after an option. Cargo adds options of its own, which are ignored.
fn number(option: &str, default: usize) -> Result<usize, String> {
    let mut arguments = std::env::args();
    if !arguments.any(|argument| argument == option) {
        return Ok(default);
    }
    let number = arguments.next().unwrap_or_default();
    number.parse().map_err(|_| format!("{option} {number:?}: not a number"))
}

/// Returns the disk space of a directory, in bytes.
fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).expect("a directory");
    let of = |entry: std::fs::DirEntry| {
        let metadata = entry.metadata().expect("a file");
        if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 }
    };
    entries.map(|entry| of(entry.expect("an entry"))).sum()
}
