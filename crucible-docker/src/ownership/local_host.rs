//! The local host, and its decision whether a container's owner is dead.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const MACHINE: &str = "crucible.machine";
pub(super) const BOOT: &str = "crucible.boot";
pub(super) const PROCESS: &str = "crucible.process";
pub(super) const LEASE: &str = "crucible.lease";

/// The local host, as labels describe it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalHost {
    pub(super) machine: String,
    pub(super) boot: String,
    pid_namespace: String,
}

/// The action of the reaper on a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReapDecision {
    Keep,
    Remove,
}

impl LocalHost {
    /// Reads the identity of the local host.
    pub(crate) fn detect() -> Self {
        let read = |path: &str| {
            fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let pid_namespace =
            fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string());
        Self {
            machine: read("/etc/machine-id"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            pid_namespace: pid_namespace.unwrap_or_default(),
        }
    }

    /// Returns the label of a local process, or `None` if there is no such process or no `/proc`.
    pub(super) fn process(&self, pid: u32) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may contain any byte. The fields are counted from the last
        // parenthesis.
        let started = stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(19)?;
        Some(format!("{pid} {started} {}", self.pid_namespace))
    }

    /// Decides whether a container with these labels is removed.
    pub(crate) fn decide(
        &self,
        labels: &HashMap<String, String>,
        is_running: bool,
        now: SystemTime,
    ) -> ReapDecision {
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        if self.is_owner_dead(label(MACHINE), label(BOOT), label(PROCESS)) {
            return ReapDecision::Remove;
        }
        if is_running {
            // The guest exits when its owner's connection ends, so the owner of a running container
            // is alive.
            return ReapDecision::Keep;
        }
        let lease = label(LEASE).parse().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        match lease {
            Ok(end) if end <= now => ReapDecision::Remove,
            // A container without a valid lease is not an engine's, even with the label of one.
            Ok(_) | Err(_) => ReapDecision::Keep,
        }
    }

    /// Returns `true` if an owner is certainly dead: the machine was rebooted, or the process does
    /// not exist.
    fn is_owner_dead(&self, machine: &str, boot: &str, process: &str) -> bool {
        if self.boot.is_empty() || boot.is_empty() || process.is_empty() {
            return false;
        }
        if boot != self.boot {
            // An earlier boot of the same machine is over. Without a machine id the owner may be on
            // another machine.
            return !machine.is_empty() && machine == self.machine;
        }
        let mut parts = process.splitn(3, ' ');
        let (Some(pid), Some(_), Some(namespace)) = (parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let Ok(pid) = pid.parse() else { return false };
        namespace == self.pid_namespace && self.process(pid).as_deref() != Some(process)
    }
}

#[cfg(test)]
mod tests {
    use super::super::owner::{ContainerRole, OWNER, Owner};
    use super::*;

    fn labels(owner: &Owner) -> HashMap<String, String> {
        owner.labels(ContainerRole::Sandbox, None)
    }

    #[test]
    fn containers_of_a_live_owner_are_kept_until_the_lease_ends() {
        let (host, labels) = (LocalHost::detect(), labels(&Owner::new()));
        let now = SystemTime::now();
        for is_running in [true, false] {
            assert_eq!(host.decide(&labels, is_running, now), ReapDecision::Keep);
        }
        let later = now + Duration::from_secs(11 * 60);
        assert_eq!(host.decide(&labels, true, later), ReapDecision::Keep);
        assert_eq!(host.decide(&labels, false, later), ReapDecision::Remove);
    }

    #[test]
    fn containers_of_a_dead_owner_are_removed_at_once() {
        let (host, mut owner) = (LocalHost::detect(), Owner::new());
        let now = SystemTime::now();
        owner.process = owner.process.replacen(' ', " 1", 1);
        assert_eq!(host.decide(&labels(&owner), true, now), ReapDecision::Remove);
        let rebooted = LocalHost { boot: "another".to_owned(), machine: "m".to_owned(), ..host };
        let before = Owner { machine: "m".to_owned(), ..Owner::new() };
        assert_eq!(rebooted.decide(&labels(&before), true, now), ReapDecision::Remove);
    }

    #[test]
    fn containers_of_another_machine_are_kept_until_the_lease_ends() {
        let (host, now) = (LocalHost::detect(), SystemTime::now());
        let other = Owner {
            machine: "m".into(),
            boot: "b".into(),
            process: "1 2 3".into(),
            ..Owner::new()
        };
        assert_eq!(host.decide(&labels(&other), true, now), ReapDecision::Keep);
        assert_eq!(host.decide(&labels(&other), false, now), ReapDecision::Keep);
        let foreign = HashMap::from([(OWNER.to_owned(), "x".to_owned())]);
        let far = now + Duration::from_secs(1 << 30);
        assert_eq!(host.decide(&foreign, false, far), ReapDecision::Keep);
    }

    #[test]
    fn process_of_another_pid_namespace_is_not_looked_up() {
        let (host, mut owner) = (LocalHost::detect(), Owner::new());
        owner.process = "999999999 7 pid:[1]".to_owned();
        assert_eq!(host.decide(&labels(&owner), false, SystemTime::now()), ReapDecision::Keep);
    }
}
