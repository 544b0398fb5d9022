//! Counters of the refused system calls that matter, by sandbox and kind.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crucible_guest::policy::Violation;

/// The number of violations of a sandbox that are answered without delay.
const UNDELAYED: u64 = 16;
/// Interval between the answers to later ones. A flood slows down its caller and not the host.
const ANSWER_INTERVAL: Duration = Duration::from_millis(10);

/// A guest, which identifies its sandbox. A process id alone can be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GuestId {
    pid: u32,
    /// Inode of its pidfd: unique for each process since Linux 6.9, the same for all before.
    inode: u64,
}

impl GuestId {
    /// Returns the id of a process, or `None` if its pidfd has no status.
    pub(crate) fn new(pid: u32, pidfd: BorrowedFd<'_>) -> Option<Self> {
        let inode = rustix::fs::fstat(pidfd).ok()?.st_ino;
        Some(Self { pid, inode })
    }
}

/// The violations of all sandboxes of an engine.
#[derive(Debug, Default)]
pub(crate) struct ViolationLog {
    /// Number of guests in `guests`. A run without violations reads nothing else.
    count: AtomicUsize,
    guests: Mutex<HashMap<GuestId, ViolationCounts>>,
}

/// The violations of one sandbox. Bounded by the number of rules in the policy.
#[derive(Debug, Default)]
pub(super) struct ViolationCounts {
    /// Kinds since the last command, in the order of their first violation.
    kinds: Vec<ViolationCount>,
    /// Number since the sandbox was created.
    total: u64,
    /// The time of the last scheduled answer.
    answered: Option<Instant>,
}

#[derive(Debug)]
struct ViolationCount {
    violation: Violation,
    count: u64,
    /// Some answers were delayed. A process killed in the meantime may have made more calls.
    is_minimum: bool,
}

impl ViolationCounts {
    /// Returns `true` if no violation was counted yet.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Counts a violation, and returns when to answer it.
    pub(super) fn add(&mut self, violation: Violation, now: Instant) -> Instant {
        self.total = self.total.saturating_add(1);
        let is_delayed = self.total > UNDELAYED;
        match self.kinds.iter_mut().find(|kind| kind.violation == violation) {
            Some(kind) => {
                kind.count = kind.count.saturating_add(1);
                kind.is_minimum |= is_delayed;
            }
            None => {
                self.kinds.push(ViolationCount { violation, count: 1, is_minimum: is_delayed });
            }
        }
        let due = if is_delayed {
            self.answered.map_or(now, |last| last.max(now)) + ANSWER_INTERVAL
        } else {
            now
        };
        self.answered = Some(due);
        due
    }
}

impl ViolationCount {
    fn describe(&self) -> String {
        let Self { violation, count, is_minimum } = self;
        let manual = if violation.is_call() { "(2)" } else { "" };
        let space = if violation.which().is_empty() { "" } else { " " };
        let least = if *is_minimum { "at least " } else { "" };
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        format!(
            "{}{manual}{space}{} was refused, {least}{times}",
            violation.name(),
            violation.which()
        )
    }
}

impl ViolationLog {
    fn guests(&self) -> MutexGuard<'_, HashMap<GuestId, ViolationCounts>> {
        // Counters are consistent between statements, even after a panic.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a violation if its caller `still_waits` for the answer, and returns when to answer.
    ///
    /// The check runs under the lock under which an outcome takes the counts. So a counted call
    /// belongs to a living process, and to a command whose outcome does not exist yet.
    pub(super) fn record(
        &self,
        guest: GuestId,
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

    /// Removes and describes the violations of a sandbox since the last call.
    pub(crate) fn take(&self, guest: impl FnOnce() -> Option<GuestId>) -> Vec<String> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let Some(guest) = guest() else { return Vec::new() };
        let mut guests = self.guests();
        let kinds = guests.get_mut(&guest).map(|counts| std::mem::take(&mut counts.kinds));
        kinds.unwrap_or_default().iter().map(ViolationCount::describe).collect()
    }

    /// Removes the counters of a dead sandbox.
    pub(crate) fn remove_guest(&self, guest: impl FnOnce() -> Option<GuestId>) {
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
    const GUEST: GuestId = GuestId { pid: 7, inode: 1 };
    const FOREIGN: u32 = crucible_guest::policy::FOREIGN_FIRST;

    fn violation(number: u32) -> Violation {
        Violation::of(ARCHITECTURE, number, &[0x1000_0000, 0, 0, 0, 0, 0]).unwrap()
    }

    #[test]
    fn violations_are_taken_once() {
        let violations = ViolationLog::default();
        for number in [MOUNT, 272, MOUNT, MOUNT, FOREIGN] {
            violations.record(GUEST, violation(number), || true).unwrap();
        }
        let wanted = [
            "mount(2) was refused, 3 times",
            "unshare(2) with a new namespace was refused, once",
            "a call of another ABI (i386, x32) was refused, once",
        ];
        assert_eq!(violations.take(|| Some(GuestId { pid: 7, inode: 2 })), Vec::<String>::new());
        assert_eq!(violations.take(|| Some(GUEST)), wanted);
        assert_eq!(violations.take(|| Some(GUEST)), Vec::<String>::new());
    }

    #[test]
    fn violation_of_ended_caller_is_not_counted() {
        let violations = ViolationLog::default();
        assert_eq!(violations.record(GUEST, violation(MOUNT), || false), None);
        assert_eq!(violations.take(|| Some(GUEST)), Vec::<String>::new());
    }

    #[test]
    fn flood_of_violations_is_answered_ever_later() {
        let (mut counts, now) = (ViolationCounts::default(), Instant::now());
        for _ in 0..UNDELAYED {
            assert_eq!(counts.add(violation(MOUNT), now), now);
        }
        for delayed in 1..100 {
            assert_eq!(counts.add(violation(MOUNT), now), now + ANSWER_INTERVAL * delayed);
        }
        assert_eq!(counts.kinds.len(), 1, "one entry per kind, not per call");
        assert_eq!(counts.kinds[0].describe(), "mount(2) was refused, at least 115 times");
    }

    #[test]
    fn removed_guest_has_no_counters() {
        let violations = ViolationLog::default();
        violations.record(GUEST, violation(MOUNT), || true).unwrap();
        violations.remove_guest(|| Some(GUEST));
        assert!(violations.guests().is_empty());
        assert_eq!(violations.count.load(Ordering::Acquire), 0);
    }

    /// Compares the policy with the names and numbers in libc.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn policy_numbers_match_libc() {
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
