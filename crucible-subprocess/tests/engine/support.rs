//! What the tests of this engine share.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crucible_core::{Engine as _, Layer};
use crucible_subprocess::{SubprocessBuilder, SubprocessEngine};

/// What this user cannot have: nothing, for root; for an ordinary user what takes other ids than its own, and, unless a group
/// was delegated to it, what takes groups.
pub(crate) fn not_for_this_user() -> &'static [Layer] {
    if rustix::process::geteuid().is_root() {
        &[]
    } else if is_delegated() {
        &[Layer::DedicatedUser]
    } else {
        &[Layer::DedicatedUser, Layer::MemoryCgroup, Layer::PidsCgroup, Layer::CpuCgroup]
    }
}

/// Whether this ordinary user has a delegated group. Whoever delegates one says so; then it must be of use.
fn is_delegated() -> bool {
    std::env::var_os("CRUCIBLE_TEST_DELEGATED").is_some()
}

/// Whether engines of this user make groups.
pub(crate) fn has_cgroups() -> bool {
    !not_for_this_user().contains(&Layer::CpuCgroup)
}

/// An engine with every layer that this user can have.
pub(crate) fn engine() -> SubprocessEngine {
    built(SubprocessEngine::builder())
}

/// One that keeps sandboxes open for those to come.
pub(crate) fn engine_with_ready_sandboxes() -> SubprocessEngine {
    built(SubprocessEngine::builder().ready_sandboxes(2))
}

/// One in whose slots sandboxes follow one another.
pub(crate) fn engine_with_slots() -> SubprocessEngine {
    built(SubprocessEngine::builder().slots(2))
}

fn built(builder: SubprocessBuilder) -> SubprocessEngine {
    match not_for_this_user().iter().fold(builder, |builder, layer| builder.waive(*layer)).build() {
        Ok(engine) => engine,
        Err(error) => panic!("{}", crucible_core::error_chain(&error)),
    }
}

/// The directories of an engine's cgroups: its report says where they are.
pub(crate) fn cgroups(engine: &SubprocessEngine) -> Vec<PathBuf> {
    let info = engine.info();
    let report = info.enforcement.reports().iter().find(|report| report.layer == Layer::CpuCgroup);
    let detail = report.map(|report| report.detail.clone()).unwrap_or_default();
    let directories: Vec<PathBuf> =
        detail.split(", ").filter(|path| path.starts_with('/')).map(PathBuf::from).collect();
    assert!(!directories.is_empty(), "the report says where the cgroups are");
    directories
}

/// The processes in all groups beneath these directories.
pub(crate) fn members(directories: &[PathBuf]) -> BTreeSet<i32> {
    let mut pids = BTreeSet::new();
    for directory in directories {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let text =
                std::fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
    }
    pids
}

/// A process and all that descend from it, as far as they can be seen now.
pub(crate) fn descendants(root: i32) -> BTreeSet<i32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let after_name = &stat[stat.rfind(')').unwrap() + 2..];
        parents.push((pid, after_name.split(' ').nth(1).unwrap().parse::<i32>().unwrap()));
    }
    let mut family = BTreeSet::from([root]);
    loop {
        let before = family.len();
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| family.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if family.len() == before {
            return family;
        }
    }
}

/// Open descriptors of this process, but for the one that lists them.
pub(crate) fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// What this process has open, kind by kind.
pub(crate) fn open_descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    // The one that lists them is gone by the time it is read.
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let mut kinds: Vec<String> = links
        .map(|link| link.to_string_lossy().split(":[").next().unwrap_or_default().to_owned())
        .filter(|link| !link.starts_with("/proc/"))
        // Groups have numbers for names; in version 2 their directories are open themselves.
        .map(|link| match link.strip_prefix("/sys/fs/cgroup/") {
            Some(path) => match path.rsplit('/').next().unwrap_or_default() {
                number if number.parse::<u64>().is_ok() => "cgroup".to_owned(),
                file => format!("cgroup {file}"),
            },
            None => link,
        })
        .collect();
    kinds.sort();
    kinds
}

pub(crate) fn mounts() -> usize {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count()
}

pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Waits until something holds; panics with what was found last if it does not in time.
#[track_caller]
pub(crate) fn eventually<T: std::fmt::Debug>(
    patience: Duration,
    what: &str,
    mut find: impl FnMut() -> Result<(), T>,
) {
    let began = Instant::now();
    loop {
        match find() {
            Ok(()) => return,
            Err(found) if began.elapsed() > patience => {
                panic!("{what}: {found:?} after {patience:?}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// That these are equal, sooner or later.
#[track_caller]
pub(crate) fn eventually_equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    wanted: &T,
    mut find: impl FnMut() -> T,
) {
    eventually(Duration::from_secs(10), what, || {
        let found = find();
        if found == *wanted { Ok(()) } else { Err(format!("{found:?}, wanted {wanted:?}")) }
    });
}
