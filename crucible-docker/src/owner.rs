//! Whose a container is: what its labels say, and whether that owner is dead.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crucible_core::EvaluationId;

/// The label that every object of every engine has.
pub(crate) const OWNER: &str = "crucible.owner";
const MACHINE: &str = "crucible.machine";
const BOOT: &str = "crucible.boot";
const PROCESS: &str = "crucible.process";
const LEASE: &str = "crucible.lease";
const ROLE: &str = "crucible.role";
const EVALUATION: &str = "crucible.evaluation";

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A sandbox: as long as it runs, its owner is attached to it.
    Sandbox,
    /// It holds the guest program for the others, and is never started.
    Carrier,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Carrier => "carrier",
        }
    }

    /// For how long the owner alone may remove one that does not run: beyond any doubt that it still wants it. It makes a new
    /// carrier when the old one is gone.
    fn lease(self) -> Duration {
        match self {
            Self::Sandbox => Duration::from_secs(10 * 60),
            Self::Carrier => Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// One engine of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    id: String,
    /// Where the process can be looked for; empty where this system does not tell.
    machine: String,
    boot: String,
    /// Its id, when it was started, and in which pid namespace that holds.
    process: String,
}

impl Owner {
    pub(crate) fn new() -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let (_, id) = id.split_at(id.len() - 12);
        let here = Here::look();
        let process = here.process(std::process::id()).unwrap_or_default();
        Self { id: id.to_owned(), machine: here.machine, boot: here.boot, process }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn labels(
        &self,
        role: Role,
        evaluation: Option<EvaluationId>,
    ) -> HashMap<String, String> {
        let ends = SystemTime::now() + role.lease();
        let ends = ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut labels = HashMap::from(
            [
                (OWNER, self.id.clone()),
                (MACHINE, self.machine.clone()),
                (BOOT, self.boot.clone()),
                (PROCESS, self.process.clone()),
                (LEASE, ends.to_string()),
                (ROLE, role.name().to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if let Some(evaluation) = evaluation {
            labels.insert(EVALUATION.to_owned(), evaluation.to_string());
        }
        labels
    }
}

/// This machine, as labels name it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Here {
    machine: String,
    boot: String,
    namespace: String,
}

impl Here {
    pub(crate) fn look() -> Self {
        let read = |path: &str| {
            fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string());
        Self {
            machine: read("/etc/machine-id"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            namespace: namespace.unwrap_or_default(),
        }
    }

    /// How labels name a process that runs here; `None` if there is none, or this system does not tell.
    fn process(&self, pid: u32) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and can hold anything; counting begins after the last.
        let started = stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(19)?;
        Some(format!("{pid} {started} {}", self.namespace))
    }

    /// What is to become of something with these labels. `runs`: whether it does.
    pub(crate) fn judge(
        &self,
        labels: &HashMap<String, String>,
        runs: bool,
        now: SystemTime,
    ) -> Fate {
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        if self.owner_is_dead(label(MACHINE), label(BOOT), label(PROCESS)) {
            return Fate::Remove;
        }
        if runs {
            // Its guest ends with the connection that its owner holds: there is one.
            return Fate::Leave;
        }
        let lease = label(LEASE).parse().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        match lease {
            Ok(ends) if ends > now => Fate::Leave,
            Ok(_) => Fate::Remove,
            // Not ours, whatever it calls itself.
            Err(_) => Fate::Leave,
        }
    }

    /// Whether an owner is dead beyond doubt: this machine was booted since, or its process is not there.
    fn owner_is_dead(&self, machine: &str, boot: &str, process: &str) -> bool {
        if self.boot.is_empty() || boot.is_empty() || process.is_empty() {
            return false;
        }
        if boot != self.boot {
            // Another boot of the same machine is over. Whose machines have no id, nobody knows.
            return !machine.is_empty() && machine == self.machine;
        }
        let mut parts = process.splitn(3, ' ');
        let (Some(pid), Some(_), Some(namespace)) = (parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let Ok(pid) = pid.parse() else { return false };
        namespace == self.namespace && self.process(pid).as_deref() != Some(process)
    }
}

/// What is to become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Leave,
    Remove,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(owner: &Owner) -> HashMap<String, String> {
        owner.labels(Role::Sandbox, None)
    }

    #[test]
    fn what_a_live_owner_has_is_left_for_as_long_as_its_lease() {
        let (here, labels) = (Here::look(), labels(&Owner::new()));
        let now = SystemTime::now();
        for runs in [true, false] {
            assert_eq!(here.judge(&labels, runs, now), Fate::Leave);
        }
        let later = now + Duration::from_secs(11 * 60);
        assert_eq!(here.judge(&labels, true, later), Fate::Leave);
        assert_eq!(here.judge(&labels, false, later), Fate::Remove);
    }

    #[test]
    fn what_a_dead_owner_had_is_removed_at_once() {
        let (here, mut owner) = (Here::look(), Owner::new());
        let now = SystemTime::now();
        owner.process = owner.process.replacen(' ', " 1", 1);
        assert_eq!(here.judge(&labels(&owner), true, now), Fate::Remove);
        let booted = Here { boot: "another".to_owned(), machine: "m".to_owned(), ..here };
        let before = Owner { machine: "m".to_owned(), ..Owner::new() };
        assert_eq!(booted.judge(&labels(&before), true, now), Fate::Remove);
    }

    #[test]
    fn of_another_machine_nothing_is_known_but_the_lease() {
        let (here, now) = (Here::look(), SystemTime::now());
        let other = Owner {
            machine: "m".into(),
            boot: "b".into(),
            process: "1 2 3".into(),
            ..Owner::new()
        };
        assert_eq!(here.judge(&labels(&other), true, now), Fate::Leave);
        assert_eq!(here.judge(&labels(&other), false, now), Fate::Leave);
        let nobody = HashMap::from([(OWNER.to_owned(), "x".to_owned())]);
        assert_eq!(here.judge(&nobody, false, now + Duration::from_secs(1 << 30)), Fate::Leave);
    }

    #[test]
    fn a_process_in_another_pid_namespace_is_not_looked_for_here() {
        let (here, mut owner) = (Here::look(), Owner::new());
        owner.process = "999999999 7 pid:[1]".to_owned();
        assert_eq!(here.judge(&labels(&owner), false, SystemTime::now()), Fate::Leave);
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| Owner::new().id).collect();
        assert_eq!(ids.len(), 1000);
    }
}
