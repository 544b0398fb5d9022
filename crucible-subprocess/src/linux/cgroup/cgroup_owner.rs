//! The owner of an engine's cgroup directory.
//!
//! The directory is named after the engine's process, so that the next engine can tell directories
//! of dead processes from directories in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::control_files;

/// An engine, distinguished from every other engine since the host booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupOwner {
    pid: u32,
    /// Start time of the process in clock ticks since the boot (field 22 of `/proc/PID/stat`,
    /// proc(5)).
    started: u64,
    /// The pid namespace that `pid` belongs to.
    namespace: u64,
    /// Number of the engine within its process.
    engine: u32,
}

impl CgroupOwner {
    /// Returns the owner of a new engine in this process.
    pub(super) fn this_process() -> io::Result<Self> {
        static ENGINES: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        Ok(Self {
            pid,
            started: start_time(pid)?,
            namespace: pid_namespace()?,
            engine: ENGINES.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Returns the name of the owner's directory.
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}-{}", self.pid, self.started, self.namespace, self.engine)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let owner = Self {
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
            namespace: parts.next()?.parse().ok()?,
            engine: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    /// Returns `true` if the owner is certainly dead: in the shared pid namespace, its id is unused
    /// or belongs to another process.
    fn is_dead(&self, namespace: u64) -> bool {
        self.namespace == namespace && start_time(self.pid).ok() != Some(self.started)
    }
}

fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_time(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Parses field 22. The process name is in parentheses and can contain any character, so counting
/// starts after the last parenthesis.
fn parse_start_time(stat: &str) -> Option<u64> {
    stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(19)?.parse().ok()
}

fn pid_namespace() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino())
}

/// Removes the directories of dead owners beneath `parent`, and logs each failure.
pub(super) fn sweep(parent: &Path) {
    let Ok(own) = pid_namespace() else { return };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_dead = entry
            .file_name()
            .to_str()
            .and_then(CgroupOwner::parse)
            .is_some_and(|owner| owner.is_dead(own));
        if is_dead {
            let path = entry.path();
            tracing::info!(cgroup = %path.display(), "removing the cgroup of a dead host");
            if let Err(error) = remove_tree(&path) {
                tracing::warn!(cgroup = %path.display(), %error, "cannot remove a cgroup");
            }
        }
    }
}

/// Removes a group and its child groups, and kills the processes in them.
pub(super) fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    for _ in 0..100 {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                kill_processes(directory);
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

/// Kills the processes of a group: through its kill file if it has one, else one by one.
fn kill_processes(directory: &Path) {
    if control_files::write(directory, "cgroup.kill", "1").is_ok() {
        return;
    }
    for pid in pids(&directory.join("cgroup.procs")) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // The process may have ended. The next pass finds the remaining ones.
            let _killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn pids(file: &PathBuf) -> Vec<i32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // 0 stands for a process outside of this pid namespace.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_dead_only_if_its_id_was_reused() {
        let owner = CgroupOwner::this_process().unwrap();
        assert!(!owner.is_dead(owner.namespace));
        assert_eq!(CgroupOwner::parse(&owner.name()), Some(owner.clone()));
        let earlier = CgroupOwner { started: owner.started.wrapping_sub(1), ..owner.clone() };
        assert!(earlier.is_dead(owner.namespace));
        let elsewhere = CgroupOwner { namespace: owner.namespace + 1, ..earlier };
        assert!(!elsewhere.is_dead(owner.namespace));
        assert_ne!(CgroupOwner::this_process().unwrap(), owner);
    }

    #[test]
    fn owner_parse_rejects_other_names() {
        for name in ["", "host", "1-2-3", "1-2-3-4-5", "a-2-3-4"] {
            assert_eq!(CgroupOwner::parse(name), None, "{name}");
        }
    }

    #[test]
    fn start_time_is_read_after_the_last_parenthesis() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_start_time(stat), Some(4242));
    }
}
