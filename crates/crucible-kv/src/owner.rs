//! Who has a directory.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

/// A process, named so that it can be told from every other: also from one that has its number later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since the machine did.
    pub started: Option<u64>,
    /// Which run of the machine it belongs to.
    pub boot: Option<String>,
    /// The machine's name.
    pub host: Option<String>,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: started(pid),
            boot: line("/proc/sys/kernel/random/boot_id"),
            host: line("/proc/sys/kernel/hostname"),
        }
    }

    /// Whether it is proven that this process has ended: it ran on this machine, and the machine has started again since, or
    /// its number is free or another's.
    ///
    /// Where nothing is proven this is `false`: for another machine's process, and where `/proc` says nothing.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let here = Self::this_process();
        if self.host.is_none()
            || self.host != here.host
            || self.boot.is_none()
            || here.boot.is_none()
        {
            return false;
        }
        // One's own start is readable wherever `/proc` is, so what is missing for another is that it has ended.
        self.boot != here.boot || (here.started.is_some() && self.started != started(self.pid))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "process {} on `{host}`", self.pid),
            None => write!(f, "process {}", self.pid),
        }
    }
}

/// When a process started; `None` if there is none, or nothing says.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is the second field, in parentheses, and may itself have any of them and spaces. The start is the 22nd.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_lives() {
        assert!(!Owner::this_process().is_dead());
    }

    #[test]
    fn a_process_that_has_ended_is_dead_and_one_of_another_start_or_boot_too() {
        let mut child = Command::new("true").spawn().unwrap();
        let mut ended = Owner { pid: child.id(), ..Owner::this_process() };
        child.wait().unwrap();
        ended.started = Some(1);
        assert!(ended.is_dead());
        assert!(Owner { started: Some(1), ..Owner::this_process() }.is_dead());
        assert!(Owner { boot: Some("another".to_owned()), ..Owner::this_process() }.is_dead());
    }

    #[test]
    fn nothing_is_proven_about_another_machine() {
        let elsewhere = Owner { host: Some("elsewhere".to_owned()), ..Owner::this_process() };
        assert!(
            !Owner { boot: Some("another".to_owned()), started: Some(1), ..elsewhere }.is_dead()
        );
        assert!(!Owner { host: None, boot: None, started: None, pid: u32::MAX }.is_dead());
    }
}
