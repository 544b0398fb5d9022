//! Whose groups these are: a directory for each engine, named after its process, so that what a dead one left can be told
//! from what a live one holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Tells one process from every other that this kernel runs or has run: its id and the moment of its start, and the pid
/// namespace in which the id means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// In clock ticks since the boot (field 22 of `/proc/PID/stat`, proc(5)).
    started: u64,
    namespace: u64,
    /// Tells engines of one process apart.
    engine: u32,
}

impl Owner {
    pub(super) fn this_process() -> io::Result<Self> {
        static ENGINES: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        Ok(Self {
            pid,
            started: start_time(pid)?,
            namespace: namespace()?,
            engine: ENGINES.fetch_add(1, Ordering::Relaxed),
        })
    }

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

    /// Whether the owner is certainly dead: another process has its id, or none, in the pid namespace that we share.
    fn is_dead(&self, namespace: u64) -> bool {
        self.namespace == namespace && start_time(self.pid).ok() != Some(self.started)
    }
}

fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_time(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The name of a process is in parentheses and can hold anything; counting begins after the last.
fn parse_start_time(stat: &str) -> Option<u64> {
    stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(19)?.parse().ok()
}

fn namespace() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino())
}

/// Removes what dead owners left beneath `parent`. What cannot be removed is left, and said.
pub(super) fn sweep(parent: &Path) {
    let Ok(own) = namespace() else { return };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let dead = entry
            .file_name()
            .to_str()
            .and_then(Owner::parse)
            .is_some_and(|owner| owner.is_dead(own));
        if dead {
            let path = entry.path();
            tracing::info!(cgroup = %path.display(), "removing what a dead host left");
            if let Err(error) = remove_tree(&path) {
                tracing::warn!(cgroup = %path.display(), %error, "it could not be removed");
            }
        }
    }
}

/// Removes a directory of groups and the groups in it, ending what still runs there.
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
                end_processes(directory);
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

/// Ends what runs in a group: by its kill file where there is one, else one by one.
fn end_processes(directory: &Path) {
    if super::files::write(directory, "cgroup.kill", "1").is_ok() {
        return;
    }
    for pid in pids(&directory.join("cgroup.procs")) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // It may have ended meanwhile; whoever is left is found again.
            let _ended = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn pids(file: &PathBuf) -> Vec<i32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // 0 is a process that this pid namespace does not see.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_owner_is_not_dead_and_a_reused_id_is() {
        let owner = Owner::this_process().unwrap();
        assert!(!owner.is_dead(owner.namespace));
        assert_eq!(Owner::parse(&owner.name()), Some(owner.clone()));
        let earlier = Owner { started: owner.started.wrapping_sub(1), ..owner.clone() };
        assert!(earlier.is_dead(owner.namespace));
        let elsewhere = Owner { namespace: owner.namespace + 1, ..earlier };
        assert!(!elsewhere.is_dead(owner.namespace));
        assert_ne!(Owner::this_process().unwrap(), owner);
    }

    #[test]
    fn other_names_have_no_owner() {
        for name in ["", "host", "1-2-3", "1-2-3-4-5", "a-2-3-4"] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_start_time(stat), Some(4242));
    }
}
