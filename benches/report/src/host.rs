//! What a run costs in a host that has much in hand.

use std::fs::File;
use std::hint::black_box;

use crucible::{Evaluation, SubprocessEngine};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::bare::Bare;
use crate::report::{Report, Table, round};
use crate::rivals::{BUSYBOX, has};
use crate::scale::Scale;
use crate::start::{ARGV, run, runtime};
use crate::support::{Case, Order, forget, ratio, run_rounds};

const HEAP: usize = 1 << 30;
const FILES: usize = 20_000;
const MOUNTS: usize = 2000;
/// How many rounds are measured before the host is made large, or small again.
const BLOCK: usize = 20;

/// Something that makes the host large for as long as it lives.
type Ballast = Box<dyn Fn() -> Box<dyn std::any::Any>>;

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    if !has(BUSYBOX, "busybox-static") {
        return;
    }
    let runtime = runtime();
    let engine = SubprocessEngine::new().expect("an engine");
    let evaluation = Evaluation::command(ARGV);
    let mounts = tempfile::tempdir().expect("a directory");
    let place = mounts.path().to_owned();
    let kinds: [(&str, &str, Ballast); 3] = [
        ("heap", "1 GiB of heap", Box::new(|| Box::new(black_box(vec![1_u8; HEAP])))),
        ("files", "20,000 open files", Box::new(|| Box::new(open_files()))),
        ("mounts", "2,000 mounts", Box::new(move || Box::new(Mounted::new(&place)))),
    ];
    let bare = Bare::new(&ARGV, 0);
    let (mut rows, mut bars) = (Vec::new(), Vec::new());
    for (key, name, ballast) in kinds {
        let case = |name| Case::new(name, || run(&runtime, &engine, &evaluation));
        let mut small = [Case::new("bare", || drop(bare.run())), case("small")];
        let mut large = [Case::new("bare", || drop(bare.run())), case("large")];
        let mut order = Order::new();
        run_rounds(&mut small, BLOCK, &mut order);
        forget(&mut small);
        for _ in (0..scale.rounds).step_by(BLOCK) {
            run_rounds(&mut small, BLOCK, &mut order);
            let held = ballast();
            run_rounds(&mut large, BLOCK, &mut order);
            drop(held);
        }
        let ours = ratio(large[1].median(), small[1].median());
        let bares = ratio(large[0].median(), small[0].median());
        report.set("host", key, round(ours));
        let times = [&small[1], &large[1]].map(|case| format!("{} µs", case.median().as_micros()));
        let ratios = [ours, bares].map(|ratio| format!("{ratio:.2}"));
        rows.push((name.to_owned(), times.into_iter().chain(ratios).collect()));
        bars.push((format!("crucible, {name}"), ours));
        bars.push((format!("bare, {name}"), bares));
    }
    report.add(Table {
        name: "host",
        title: "A host with much in hand".to_owned(),
        note: "The same run from a small host, and from one that has this much. The last column is what happens to bare vfork+exec, whose child \
               copies the host's descriptors; a fork(2) would copy its page tables as well. (Where there may not be so many open files, there are \
               as many as there may.)"
            .to_owned(),
        columns: vec!["small", "large", "ratio", "bare"],
        rows,
        bars,
        unit: "large to small",
    });
}

fn open_files() -> Vec<File> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // As many as there may be.
    let _raised = rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted);
    // What the engine needs to have open must fit as well.
    let most = limit
        .maximum
        .map_or(FILES, |most| FILES.min(usize::try_from(most).unwrap_or(FILES).saturating_sub(300)));
    (0..most).map_while(|_| File::open("/dev/null").ok()).collect()
}

/// Mounts in the host's own namespace, where it may make any.
struct Mounted(Vec<std::path::PathBuf>);

impl Mounted {
    fn new(directory: &std::path::Path) -> Self {
        let mounted = (0..MOUNTS).map_while(|number| {
            let path = directory.join(number.to_string());
            let made = std::fs::create_dir(&path).is_ok() || path.exists();
            let mounted =
                made && rustix::mount::mount("none", &path, "tmpfs", MountFlags::empty(), None).is_ok();
            mounted.then_some(path)
        });
        Self(mounted.collect())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for path in &self.0 {
            let _unmounted = rustix::mount::unmount(path, UnmountFlags::DETACH);
        }
    }
}
