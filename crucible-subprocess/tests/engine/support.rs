//! Helpers of the tests.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crucible_core::{Engine as _, Layer};
use crucible_subprocess::{SubprocessBuilder, SubprocessEngine};

/// Returns the layers that are unavailable to this user.
///
/// Root has every layer. An ordinary user has only its own user id, and has cgroups only if one was
/// delegated to it.
pub(crate) fn unavailable_layers() -> &'static [Layer] {
    if rustix::process::geteuid().is_root() {
        &[]
    } else if is_delegated() {
        &[Layer::DedicatedUser]
    } else {
        &[Layer::DedicatedUser, Layer::MemoryCgroup, Layer::PidsCgroup, Layer::CpuCgroup]
    }
}

/// Returns `true` if a cgroup was delegated to this ordinary user. The test environment sets the
/// variable when it delegates one, and the group must then be usable.
fn is_delegated() -> bool {
    std::env::var_os("CRUCIBLE_TEST_DELEGATED").is_some()
}

/// Returns `true` if engines of this user create cgroups.
pub(crate) fn has_cgroups() -> bool {
    !unavailable_layers().contains(&Layer::CpuCgroup)
}

/// Creates an engine with every available layer.
pub(crate) fn engine() -> SubprocessEngine {
    built(SubprocessEngine::builder())
}

/// Creates an engine that keeps sandboxes ready.
pub(crate) fn engine_with_ready_sandboxes() -> SubprocessEngine {
    built(SubprocessEngine::builder().ready_sandboxes(2))
}

/// Creates an engine with reusable slots.
pub(crate) fn engine_with_slots() -> SubprocessEngine {
    built(SubprocessEngine::builder().slots(2))
}

fn built(builder: SubprocessBuilder) -> SubprocessEngine {
    match unavailable_layers().iter().fold(builder, |builder, layer| builder.waive(*layer)).build()
    {
        Ok(engine) => engine,
        Err(error) => panic!("{}", crucible_core::error_chain(&error)),
    }
}

/// Returns the directories of an engine's cgroups, from its report.
pub(crate) fn cgroups(engine: &SubprocessEngine) -> Vec<PathBuf> {
    let info = engine.info();
    let report = info.enforcement.reports().iter().find(|report| report.layer == Layer::CpuCgroup);
    let detail = report.map(|report| report.detail.clone()).unwrap_or_default();
    let directories: Vec<PathBuf> =
        detail.split(", ").filter(|path| path.starts_with('/')).map(PathBuf::from).collect();
    assert!(!directories.is_empty(), "the report has the directories of the cgroups");
    directories
}

/// Returns the processes in all cgroups beneath these directories.
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

/// Returns a process and its visible descendants.
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

/// Returns the number of open descriptors of this process, without the descriptor of the listing.
pub(crate) fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Returns the kinds of this process's open descriptors, sorted.
pub(crate) fn open_descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    // The descriptor that lists the others is closed when its link is read.
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let mut kinds: Vec<String> = links
        .map(|link| link.to_string_lossy().split(":[").next().unwrap_or_default().to_owned())
        .filter(|link| !link.starts_with("/proc/"))
        // Cgroups have numbers as names. With version 2 their directories are open.
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

/// Waits until `find` succeeds. Panics with its last error after the deadline.
#[track_caller]
pub(crate) fn eventually<T: std::fmt::Debug>(
    deadline: Duration,
    what: &str,
    mut find: impl FnMut() -> Result<(), T>,
) {
    let began = Instant::now();
    loop {
        match find() {
            Ok(()) => return,
            Err(found) if began.elapsed() > deadline => {
                panic!("{what}: {found:?} after {deadline:?}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Waits until `find` returns the wanted value.
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
