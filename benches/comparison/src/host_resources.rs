//! The resources that this process and its engines hold.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the bytes of memory in use by this process. The allocator's free memory is returned to
/// the kernel first.
pub(crate) fn resident() -> u64 {
    // SAFETY: malloc_trim(3) takes a number and releases free pages, to which no pointers exist.
    unsafe { libc::malloc_trim(0) };
    rollup("self", "Rss:")
}

/// Returns the proportional set size of the processes, in bytes.
pub(crate) fn proportional(processes: &[u32]) -> u64 {
    processes.iter().map(|process| rollup(&process.to_string(), "Pss:")).sum()
}

/// Returns one line of `smaps_rollup` (proc(5)), which is exact; other counters lag.
fn rollup(process: &str, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let value = text.lines().find_map(|found| found.strip_prefix(line));
    value
        .and_then(|value| value.trim().split(' ').next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Returns the processes in the cgroups of a host's engines, which are named after its process id.
pub(crate) fn processes_of(host: u32) -> Vec<u32> {
    let group = format!("/crucible/{host}-");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let groups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
        groups.contains(&group).then_some(process)
    });
    processes.collect()
}

/// Returns the cgroups of a host's engines, one per controller and engine. Sandboxes have groups
/// beneath them. The host is in the same groups as this process.
pub(crate) fn groups_of(host: u32) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let places = own.lines().filter_map(|line| {
        let (controllers, place) = line.split_once(':')?.1.split_once(':')?;
        Some(root.join(controllers).join(place.trim_start_matches('/')))
    });
    // On cgroup v2, as root, the parent is the root group.
    let mut parents: Vec<_> =
        places.chain([root.to_owned()]).map(|place| place.join("crucible")).collect();
    parents.sort();
    parents.dedup();
    let groups =
        parents.iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
    let ours =
        groups.filter(|group| group.file_name().to_string_lossy().starts_with(&format!("{host}-")));
    ours.map(|group| group.path()).collect()
}

/// Returns the number of groups beneath the given ones.
pub(crate) fn count_beneath(groups: &[PathBuf]) -> usize {
    let entries =
        groups.iter().flat_map(|group| fs::read_dir(group).into_iter().flatten().flatten());
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
}

/// Returns the bytes charged to the groups, kernel memory included.
pub(crate) fn charged(groups: &[PathBuf]) -> u64 {
    let figure = |name: &str, group: &PathBuf| {
        fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok()
    };
    let charged =
        |group| figure("memory.usage_in_bytes", group).or_else(|| figure("memory.current", group));
    groups.iter().filter_map(charged).sum()
}

/// Returns the number of mounts in this process's mount namespace.
pub(crate) fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().count()
}

/// Returns the number of open file descriptors of this process.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").into_iter().flatten().count()
}

/// Returns the number of threads of this process.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").into_iter().flatten().count()
}

/// Raises the limit on open files to `wanted`, or to the hard limit, which only root can raise.
/// Returns the new limit.
pub(crate) fn raise_descriptors(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    for bound in [hard.max(wanted), hard] {
        if setrlimit(Resource::Nofile, Rlimit { current: Some(bound), maximum: Some(bound) })
            .is_ok()
        {
            return bound;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}
