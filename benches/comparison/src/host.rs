//! The cost of a run in a large host.

use std::fs::File;
use std::hint::black_box;
use std::path::PathBuf;

use crucible::{Evaluation, SubprocessEngine};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::bare::Bare;
use crate::growth::grouped;
use crate::peers::{BUSYBOX, has};
use crate::report::{Report, Table, round};
use crate::scale::Scale;
use crate::start::{ARGV, run, runtime};
use crate::support::{Case, Order, clear_times, ratio, run_rounds};

/// The additional heap of the large host, in bytes.
const HEAP: usize = 1 << 30;
/// The wanted number of open files of the large host.
const FILES: usize = 20_000;
/// File descriptors reserved for the runs themselves.
const BESIDE: u64 = 1000;
/// The number of mounts of the large host.
const MOUNTS: usize = 2000;
/// Rounds per switch between the small and the large host.
const BLOCK: usize = 20;

/// Creates the value that makes the host large; `None` if this host's limits forbid it.
type Ballast = Box<dyn Fn() -> Option<Box<dyn std::any::Any>>>;

/// Returns the kinds of large hosts: a key, a label, and the ballast.
fn kinds() -> [(&'static str, String, Ballast); 3] {
    let files = files();
    [
        (
            "heap",
            "1 GiB of heap".to_owned(),
            Box::new(|| Some(Box::new(black_box(vec![1_u8; HEAP])))),
        ),
        (
            "files",
            format!("{} open files", grouped(files as u64)),
            Box::new(move || Some(Box::new(open_files(files)?))),
        ),
        ("mounts", "2,000 mounts".to_owned(), Box::new(|| Some(Box::new(Mounted::new()?)))),
    ]
}

/// Runs in a new mount namespace, which removes all of its mounts when it ends.
pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = rustix::thread::UnshareFlags::NEWNS;
            // SAFETY: only this thread enters a new mount namespace; file descriptors stay shared.
            let unshared = unsafe { rustix::thread::unshare_unsafe(flags) };
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            let unshared = unshared.and_then(|()| rustix::mount::mount_change("/", private));
            measure_hosts(report, scale, unshared.is_ok());
        });
    });
}

/// Measures runs in a small and in a large host, by turns.
fn measure_hosts(report: &mut Report, scale: &Scale, may_mount: bool) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = runtime();
    let engine = SubprocessEngine::new().expect("an engine");
    let evaluation = Evaluation::command(ARGV);
    let bare = Bare::new(&ARGV, 0);
    let (mut rows, mut bars) = (Vec::new(), Vec::new());
    for (key, name, ballast) in kinds() {
        if key == "mounts" && !may_mount || ballast().is_none() {
            eprintln!("a host with {name}: SKIPPED, this host's limits forbid it");
            continue;
        }
        let case = |name| Case::new(name, || run(&runtime, &engine, &evaluation));
        let mut small = [Case::new("bare", || drop(bare.run())), case("small")];
        let mut large = [Case::new("bare", || drop(bare.run())), case("large")];
        let mut order = Order::new();
        run_rounds(&mut small, BLOCK, &mut order);
        clear_times(&mut small);
        for _ in (0..scale.rounds).step_by(BLOCK) {
            run_rounds(&mut small, BLOCK, &mut order);
            let held = ballast();
            assert!(held.is_some(), "this host's limits changed: {name}");
            run_rounds(&mut large, BLOCK, &mut order);
            drop(held);
        }
        let ours = ratio(large[1].median(), small[1].median());
        let bares = ratio(large[0].median(), small[0].median());
        report.set("host", key, round(ours));
        let times = [&small[1], &large[1]].map(|case| format!("{} µs", case.median().as_micros()));
        let ratios = [ours, bares].map(|ratio| format!("{ratio:.2}"));
        rows.push((name.clone(), times.into_iter().chain(ratios).collect()));
        bars.push((format!("crucible, {name}"), ours));
        bars.push((format!("bare, {name}"), bares));
    }
    report.add(Table {
        name: "host",
        title: "A large host".to_owned(),
        note: "The same run from a small and from a large host. The last column shows the same for bare vfork+exec, whose child \
copies the host's descriptors; a fork(2) would copy its page tables as well."
            .to_owned(),
        columns: vec!["small", "large", "ratio", "bare"],
        rows,
        bars,
        curve: None,
        unit: "large to small",
    });
}

/// Returns [`FILES`], or the number of files that the limits allow beside a run.
fn files() -> usize {
    let may = crate::host_resources::raise_descriptors(FILES as u64 + BESIDE);
    usize::try_from(may.saturating_sub(BESIDE)).map_or(FILES, |may| may.min(FILES))
}

fn open_files(count: usize) -> Option<Vec<File>> {
    (0..count).map(|_| File::open("/dev/null").ok()).collect()
}

/// Mounts file systems in this thread's mount namespace.
struct Mounted(Vec<PathBuf>, tempfile::TempDir);

impl Mounted {
    fn new() -> Option<Self> {
        let mut mounted = Self(Vec::new(), tempfile::tempdir().ok()?);
        for number in 0..MOUNTS {
            let path = mounted.1.path().join(number.to_string());
            std::fs::create_dir(&path).ok()?;
            rustix::mount::mount("none", &path, "tmpfs", MountFlags::empty(), None).ok()?;
            mounted.0.push(path);
        }
        Some(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = rustix::mount::unmount(path, UnmountFlags::DETACH) {
                eprintln!("{}: {error}", path.display());
            }
        }
    }
}
