//! What sandboxes did that matters: refused calls, by sandbox, kind and number.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crucible_guest::policy::Violation;

/// How many refusals of a sandbox are answered at once.
const AT_ONCE: u64 = 16;
/// How far apart its later ones are answered: a flood costs whoever makes it, and not the host.
const PACE: Duration = Duration::from_millis(10);

/// A guest, and so a sandbox. A process id alone can come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Guest {
    pub(super) pid: u32,
    /// Of its pidfd: since Linux 6.9 no two processes have the same, before that all have.
    inode: u64,
}

impl Guest {
    pub(super) fn new(pid: u32, pidfd: BorrowedFd<'_>) -> Option<Self> {
        let inode = rustix::fs::fstat(pidfd).ok()?.st_ino;
        Some(Self { pid, inode })
    }
}

/// What all sandboxes of an engine did.
#[derive(Debug, Default)]
pub(super) struct Violations {
    /// How many guests there are in `guests`: all that a run without violations looks at.
    count: AtomicUsize,
    guests: Mutex<HashMap<Guest, Offences>>,
}

/// What one sandbox did. There are as many kinds as the policy has rules: this is bounded, whatever a program does.
#[derive(Debug, Default)]
pub(super) struct Offences {
    /// Since the last command, in the order in which each came first.
    kinds: Vec<Kind>,
    /// Since the sandbox was made.
    total: u64,
    /// When the last one is answered.
    answered: Option<Instant>,
}

#[derive(Debug)]
struct Kind {
    violation: Violation,
    count: u64,
    /// Some were kept waiting: who is ended meanwhile has others that nobody counts.
    is_least: bool,
}

impl Offences {
    /// Whether nothing has been counted yet.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Counts one; says when it is to be answered.
    pub(super) fn add(&mut self, violation: Violation, now: Instant) -> Instant {
        self.total = self.total.saturating_add(1);
        let is_late = self.total > AT_ONCE;
        match self.kinds.iter_mut().find(|kind| kind.violation == violation) {
            Some(kind) => {
                kind.count = kind.count.saturating_add(1);
                kind.is_least |= is_late;
            }
            None => self.kinds.push(Kind { violation, count: 1, is_least: is_late }),
        }
        let due =
            if is_late { self.answered.map_or(now, |last| last.max(now)) + PACE } else { now };
        self.answered = Some(due);
        due
    }
}

impl Kind {
    fn describe(&self) -> String {
        let Self { violation, count, is_least } = self;
        let manual = if violation.is_call() { "(2)" } else { "" };
        let space = if violation.which().is_empty() { "" } else { " " };
        let least = if *is_least { "at least " } else { "" };
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        format!(
            "{}{manual}{space}{} was refused, {least}{times}",
            violation.name(),
            violation.which()
        )
    }
}

impl Violations {
    fn guests(&self) -> MutexGuard<'_, HashMap<Guest, Offences>> {
        // CgroupCounters, right between statements.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal if its caller `still_waits` for the answer; says when it is to be answered.
    ///
    /// The caller is asked after under the lock under which an outcome takes what was counted: what is counted belongs to
    /// a process that had not ended, so to a command whose outcome has not been made.
    pub(super) fn record(
        &self,
        guest: Guest,
        violation: Violation,
        still_waits: impl FnOnce() -> bool,
    ) -> Option<Instant> {
        let mut guests = self.guests();
        if !still_waits() {
            return None;
        }
        let due = guests.entry(guest).or_default().add(violation, Instant::now());
        self.count.store(guests.len(), Ordering::Release);
        Some(due)
    }

    /// Takes what a sandbox did since the last time, in words.
    pub(super) fn take(&self, guest: impl FnOnce() -> Option<Guest>) -> Vec<String> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let Some(guest) = guest() else { return Vec::new() };
        let mut guests = self.guests();
        let kinds = guests.get_mut(&guest).map(|offences| std::mem::take(&mut offences.kinds));
        kinds.unwrap_or_default().iter().map(Kind::describe).collect()
    }

    /// Forgets a sandbox that is dead.
    pub(super) fn forget(&self, guest: impl FnOnce() -> Option<Guest>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let Some(guest) = guest() else { return };
        let mut guests = self.guests();
        guests.remove(&guest);
        self.count.store(guests.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHITECTURE: u32 = crucible_guest::policy::ARCHITECTURE;
    const MOUNT: u32 = 165;
    const GUEST: Guest = Guest { pid: 7, inode: 1 };

    fn violation(number: u32) -> Violation {
        Violation::of(ARCHITECTURE, number, &[0x1000_0000, 0, 0, 0, 0, 0]).unwrap()
    }

    #[test]
    fn what_was_counted_is_told_once() {
        let violations = Violations::default();
        for number in [MOUNT, 272, MOUNT, MOUNT, FOREIGN] {
            violations.record(GUEST, violation(number), || true).unwrap();
        }
        let wanted = [
            "mount(2) was refused, 3 times",
            "unshare(2) with a new namespace was refused, once",
            "a call of another ABI (i386, x32) was refused, once",
        ];
        assert_eq!(violations.take(|| Some(Guest { pid: 7, inode: 2 })), Vec::<String>::new());
        assert_eq!(violations.take(|| Some(GUEST)), wanted);
        assert_eq!(violations.take(|| Some(GUEST)), Vec::<String>::new());
    }

    const FOREIGN: u32 = crucible_guest::policy::FOREIGN_FIRST;

    #[test]
    fn nothing_is_counted_of_who_has_ended() {
        let violations = Violations::default();
        assert_eq!(violations.record(GUEST, violation(MOUNT), || false), None);
        assert_eq!(violations.take(|| Some(GUEST)), Vec::<String>::new());
    }

    #[test]
    fn the_first_are_answered_at_once_and_a_flood_ever_later() {
        let (mut offences, now) = (Offences::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(offences.add(violation(MOUNT), now), now);
        }
        for late in 1..100 {
            assert_eq!(offences.add(violation(MOUNT), now), now + PACE * late);
        }
        assert_eq!(offences.kinds.len(), 1, "kinds are kept, and not calls");
        assert_eq!(offences.kinds[0].describe(), "mount(2) was refused, at least 115 times");
    }

    #[test]
    fn who_is_forgotten_leaves_nothing() {
        let violations = Violations::default();
        violations.record(GUEST, violation(MOUNT), || true).unwrap();
        violations.forget(|| Some(GUEST));
        assert!(violations.guests().is_empty());
        assert_eq!(violations.count.load(Ordering::Acquire), 0);
    }

    /// Names and numbers that libc has, against those of the policy.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_policys_numbers_are_those_of_its_names() {
        macro_rules! calls {
            ($($name:ident),* $(,)?) => { [$((stringify!($name), libc::$name)),*] };
        }
        let known = calls![
            SYS_ptrace,
            SYS_process_vm_readv,
            SYS_process_vm_writev,
            SYS_kcmp,
            SYS_pidfd_getfd,
            SYS_process_madvise,
            SYS_process_mrelease,
            SYS_pivot_root,
            SYS_chroot,
            SYS_open_tree,
            SYS_move_mount,
            SYS_fsopen,
            SYS_fsconfig,
            SYS_fsmount,
            SYS_fspick,
            SYS_mount_setattr,
            SYS_name_to_handle_at,
            SYS_open_by_handle_at,
            SYS_add_key,
            SYS_request_key,
            SYS_keyctl,
            SYS_perf_event_open,
            SYS_fanotify_init,
            SYS_bpf,
            SYS_userfaultfd,
            SYS_memfd_secret,
            SYS_io_uring_setup,
            SYS_io_uring_enter,
            SYS_io_uring_register,
            SYS_syslog,
            SYS_vhangup,
            SYS_adjtimex,
            SYS_clock_adjtime,
            SYS_acct,
            SYS_settimeofday,
            SYS_clock_settime,
            SYS_swapon,
            SYS_swapoff,
            SYS_reboot,
            SYS_setdomainname,
            SYS_iopl,
            SYS_ioperm,
            SYS_init_module,
            SYS_finit_module,
            SYS_delete_module,
            SYS_quotactl,
            SYS_quotactl_fd,
            SYS_kexec_load,
            SYS_kexec_file_load,
            SYS_uselib,
            SYS_ustat,
            SYS_sysfs,
            SYS_modify_ldt,
            SYS__sysctl,
            SYS_nfsservctl,
            SYS_lookup_dcookie,
            SYS_vserver,
            SYS_mbind,
            SYS_set_mempolicy,
            SYS_get_mempolicy,
            SYS_migrate_pages,
            SYS_move_pages,
            SYS_set_mempolicy_home_node,
            SYS_mount,
            SYS_umount2,
            SYS_setns,
            SYS_sethostname,
            SYS_clone,
            SYS_unshare,
            SYS_clone3,
            SYS_socket,
            SYS_socketpair,
            SYS_ioctl,
            SYS_personality,
            SYS_setrlimit,
            SYS_prlimit64
        ];
        let unknown = [
            "cachestat",
            "create_module",
            "listmount",
            "lsm_set_self_attr",
            "open_tree_attr",
            "statmount",
        ];
        for rule in &crucible_guest::policy::RULES {
            let found = known.iter().find(|(name, _)| name.strip_prefix("SYS_") == Some(rule.name));
            match found {
                Some((name, number)) => assert_eq!(i64::from(rule.number), *number, "{name}"),
                None => assert!(unknown.contains(&rule.name), "{}", rule.name),
            }
        }
    }
}
