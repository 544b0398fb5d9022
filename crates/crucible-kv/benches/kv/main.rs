//! Which store is the fastest below a queue and a storage: `cargo bench -p crucible-kv --all-features --bench kv
//! [-- --rounds N] [--records N]`. Everything is at `Power`, on the disk of the target directory, beside a log of our own: what
//! group commit could do at best there. Run it on a quiet machine, and read the ratios.

#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark that cannot go on has nothing to measure"
)]

mod contenders;
mod full_store;
mod reference_log;
mod workload;

use std::path::Path;
use std::time::Duration;

use crucible_kv::Store;

use self::contenders::{CONTENDERS, Contender};
use self::reference_log::ReferenceLog;

/// As many as workers of a busy host.
const WRITERS: usize = 16;

/// How long a subject has in each round.
const ROUND: Duration = Duration::from_secs(1);

fn main() -> Result<(), String> {
    let (rounds, records) = (number("--rounds", 5)?, number("--records", 1_000_000)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let place = |name: &str| scratch.path().join(name);

    runtime.block_on(async {
        let log = Measured::new("log", Under::ReferenceLog(ReferenceLog::new(&place("log"))));
        let stores = subjects().map(|subject| {
            Measured::new(subject.name, Under::Store(subject.store(&place(subject.name))))
        });
        let mut measured: Vec<Measured> = stores.chain([log]).collect();
        for _ in 0..rounds {
            for subject in &mut measured {
                subject.measure().await;
            }
            // Each round begins with another one, since each pays for what the one before has left to the kernel.
            measured.rotate_left(1);
        }
        measured.sort_by_key(|subject| matches!(subject.under, Under::ReferenceLog(_)));
        print(&measured, rounds);
    });
    println!("\nwith {records} records of 1 KiB and an index entry each");
    for subject in subjects().filter(|subject| subject.keeps && records > 0) {
        full_store::measure(
            &runtime,
            subject,
            &place(&format!("{}-full", subject.name)),
            records as u64,
        );
    }
    Ok(())
}

struct Measured {
    name: &'static str,
    under: Under,
    submits: Vec<f64>,
    cycles: Vec<f64>,
}

enum Under {
    Store(Store),
    ReferenceLog(ReferenceLog),
}

impl Measured {
    fn new(name: &'static str, under: Under) -> Self {
        Self { name, under, submits: Vec::new(), cycles: Vec::new() }
    }

    async fn measure(&mut self) {
        let (submits, cycles) = match &self.under {
            Under::Store(store) => (workload::submits(store).await, workload::cycles(store).await),
            Under::ReferenceLog(log) => {
                (workload::log_submits(log).await, workload::log_cycles(log).await)
            }
        };
        self.submits.push(submits);
        self.cycles.push(cycles);
    }
}

/// A line a subject; the log is the last.
fn print(measured: &[Measured], rounds: usize) {
    println!(
        "{WRITERS} writers, {rounds} rounds of {ROUND:?}; operations a second, median (ratio to the log)"
    );
    println!("{:<24} {:>20} {:>20}", "", "submit", "claim + finish");
    let Some(log) = measured.last() else { return };
    for subject in measured {
        let [submit, cycle] = [(&subject.submits, &log.submits), (&subject.cycles, &log.cycles)]
            .map(|(figures, log)| {
                format!("{:.0} ({:.2})", median(figures), median(figures) / median(log))
            });
        println!("{:<24} {submit:>20} {cycle:>20}", subject.name);
    }
}

/// All of them, or those whose name begins with what follows `--only`.
fn subjects() -> impl Iterator<Item = &'static Contender> {
    let only =
        std::env::args().skip_while(|argument| argument != "--only").nth(1).unwrap_or_default();
    CONTENDERS.iter().filter(move |subject| subject.name.starts_with(&only))
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// The number after an option. Cargo adds options of its own, which mean nothing here.
fn number(option: &str, default: usize) -> Result<usize, String> {
    let mut arguments = std::env::args();
    if !arguments.any(|argument| argument == option) {
        return Ok(default);
    }
    let number = arguments.next().unwrap_or_default();
    number.parse().map_err(|_| format!("{option} {number:?}: it is not a number"))
}

/// A directory's bytes on disk.
fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).expect("a directory");
    let of = |entry: std::fs::DirEntry| {
        let metadata = entry.metadata().expect("a file");
        if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 }
    };
    entries.map(|entry| of(entry.expect("an entry"))).sum()
}
