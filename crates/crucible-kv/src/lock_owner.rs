//! The identity of the process that holds a directory.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

/// A process, identified beyond its id, so that a later process with the same id differs from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LockOwner {
    /// The process id.
    pub pid: u32,
    /// The start time of the process, in clock ticks since boot.
    pub started: Option<u64>,
    /// The boot id of the machine.
    pub boot: Option<String>,
    /// The host name of the machine.
    pub host: Option<String>,
}

impl LockOwner {
    /// Returns the identity of this process.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: start_time(pid),
            boot: read_line("/proc/sys/kernel/random/boot_id"),
            host: read_line("/proc/sys/kernel/hostname"),
        }
    }

    /// Returns `true` if the process has certainly ended: it ran on this machine, and the machine
    /// has rebooted since, or the process id is free or belongs to another process.
    ///
    /// Returns `false` for a process of another machine, and where `/proc` is unavailable.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        let here = Self::this_process();
        if self.host.is_none()
            || self.host != here.host
            || self.boot.is_none()
            || here.boot.is_none()
        {
            return false;
        }
        // If this process can read its own start time, `/proc` works. A missing start time of the
        // other process then means that it has ended.
        self.boot != here.boot || (here.started.is_some() && self.started != start_time(self.pid))
    }
}

impl fmt::Display for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "process {} on `{host}`", self.pid),
            None => write!(f, "process {}", self.pid),
        }
    }
}

/// Returns the start time of a process; `None` if there is no such process or no `/proc`.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc_pid_stat(5): field 2 is the name in parentheses and may contain spaces and parentheses.
    // Field 22 is the start time.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Returns the trimmed content of a file.
fn read_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_has_not_exited() {
        assert!(!LockOwner::this_process().has_exited());
    }

    #[test]
    fn ended_process_or_other_boot_has_exited() {
        let mut child = Command::new("true").spawn().unwrap();
        let mut ended = LockOwner { pid: child.id(), ..LockOwner::this_process() };
        child.wait().unwrap();
        ended.started = Some(1);
        assert!(ended.has_exited());
        assert!(LockOwner { started: Some(1), ..LockOwner::this_process() }.has_exited());
        let other_boot =
            LockOwner { boot: Some("another".to_owned()), ..LockOwner::this_process() };
        assert!(other_boot.has_exited());
    }

    #[test]
    fn process_of_another_machine_has_not_exited() {
        let elsewhere =
            LockOwner { host: Some("elsewhere".to_owned()), ..LockOwner::this_process() };
        let rebooted =
            LockOwner { boot: Some("another".to_owned()), started: Some(1), ..elsewhere };
        assert!(!rebooted.has_exited());
        let unknown = LockOwner { host: None, boot: None, started: None, pid: u32::MAX };
        assert!(!unknown.has_exited());
    }
}
