//! What this process holds of the machine, and what its engines have made.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that this process has. What the allocator keeps for later is given back first, so that nothing is counted but what is
/// in use.
pub(crate) fn resident() -> u64 {
    // SAFETY: it takes a number, and gives free pages back to the kernel; nobody has pointers to what is free.
    unsafe { libc::malloc_trim(0) };
    rollup("self", "Rss:")
}

/// Bytes of memory of these processes, each page divided by how many processes have it.
pub(crate) fn proportional(processes: &[u32]) -> u64 {
    processes.iter().map(|process| rollup(&process.to_string(), "Pss:")).sum()
}

/// A line of smaps_rollup (proc(5)), which is exact where other counters are behind.
fn rollup(process: &str, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let value = text.lines().find_map(|found| found.strip_prefix(line));
    value
        .and_then(|value| value.trim().split(' ').next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Processes in the groups of a host's engines, which are named after its number.
pub(crate) fn processes_of(host: u32) -> Vec<u32> {
    let group = format!("/crucible/{host}-");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let groups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
        groups.contains(&group).then_some(process)
    });
    processes.collect()
}

/// The groups of a host's engines, one a controller and engine; those of sandboxes are beneath them. The host is in the same groups as
/// this process.
pub(crate) fn groups_of(host: u32) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let places = own.lines().filter_map(|line| {
        let (controllers, place) = line.split_once(':')?.1.split_once(':')?;
        Some(root.join(controllers).join(place.trim_start_matches('/')))
    });
    // On version 2, as root, it is the root of all.
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

/// How many groups there are beneath these.
pub(crate) fn count_beneath(groups: &[PathBuf]) -> usize {
    let entries =
        groups.iter().flat_map(|group| fs::read_dir(group).into_iter().flatten().flatten());
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
}

/// Bytes of memory that are charged to these groups, of the kernel's own among them.
pub(crate) fn charged(groups: &[PathBuf]) -> u64 {
    let figure = |name: &str, group: &PathBuf| {
        fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok()
    };
    let charged =
        |group| figure("memory.usage_in_bytes", group).or_else(|| figure("memory.current", group));
    groups.iter().filter_map(charged).sum()
}

/// Mounts in this process's mount namespace.
pub(crate) fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().count()
}

/// Open file descriptors of this process.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").into_iter().flatten().count()
}

/// Threads of this process.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").into_iter().flatten().count()
}

/// Lets this process have so many open files, or as many as it may, which only root can raise; gives how many that are.
pub(crate) fn raise_descriptors(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    for bound in [most.max(wanted), most] {
        if setrlimit(Resource::Nofile, Rlimit { current: Some(bound), maximum: Some(bound) })
            .is_ok()
        {
            return bound;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}
