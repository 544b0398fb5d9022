//! The rules. A refusal is reported if no ordinary program makes the call and attackers do. Calls
//! that libraries, runtimes or test suites are known to try are refused without a report.

use super::Action::{self, Allow, Refuse, Report};
use super::Condition::{AnyBit, Inet, NotNull, OneOf};
use super::{Condition, EAFNOSUPPORT, ENOSYS, EPERM, PRETEND, Reason, Rule};

const OTHERS: Reason = Reason {
    title: "Other processes",
    attacks: "F2",
    why: "These calls access memory and descriptors of the guest, or of other processes. ptrace(2) \
          has repeatedly led to root (CVE-2019-13272). Leak sanitizers and debuggers try it on \
          their own children, so only copying descriptors is reported.",
};
const ROOTS: Reason = Reason {
    title: "Change of the root directory",
    attacks: "F1",
    why: "The root file system is sealed before the filter is loaded. Test suites and build tools \
          try chroot(2), so it is not reported.",
};
const MOUNTS: Reason = Reason {
    title: "Mounts by descriptor, and the table of mounts",
    attacks: "F1, F8",
    why: "These calls are a new part of the kernel that root of any user namespace can reach \
          (CVE-2022-0185). Libraries try only to read the table.",
};
const HANDLES: Reason = Reason {
    title: "Files by handle",
    attacks: "F1",
    why: "A handle bypasses every check of a path, as in the container escape known as Shocker. \
          Some libraries request handles to compare mounts.",
};
const KEYS: Reason = Reason {
    title: "Keyrings",
    attacks: "F3",
    why: "Keyrings are shared by user id and not by namespace, and have led to root \
          (CVE-2016-0728).",
};
const SURFACE: Reason = Reason {
    title: "Large or new parts of the kernel that programs do not need",
    attacks: "F5, F8",
    why: "BPF (CVE-2021-3490) and performance events (CVE-2013-2094) have repeatedly led to root. \
          User faults stop the kernel in the middle of a copy, which lets exploits win races. \
          Secret memory fragments the kernel's own map and slows the machine down. Page cache \
          statistics revealed files that the caller may not write (CVE-2025-21691). A program does \
          not need to change its security attributes.",
};
const IO_URING: Reason = Reason {
    title: "io_uring",
    attacks: "F4",
    why: "io_uring performs operations that the filter cannot see, and has had many bugs \
          (CVE-2022-29582, CVE-2023-2598). Runtimes detect its absence and use other interfaces.",
};
const MACHINE: Reason = Reason {
    title: "The machine itself",
    attacks: "F5, B7",
    why: "These calls change modules, the running kernel, clocks, swap, accounting, ports and \
          quotas. The kernel requires privileges that no target has, and the filter is a second \
          check. Tools read the clock's state and the kernel's log.",
};
const RELICS: Reason = Reason {
    title: "Obsolete calls",
    attacks: "F8",
    why: "These calls reach unmaintained code that no current program needs (modify_ldt(2): \
          CVE-2015-5157).",
};
const PLACES: Reason = Reason {
    title: "Placement of memory",
    attacks: "B8, G4",
    why: "Memory placement affects other processes on the machine, and measures them. Runtimes try \
          it for speed.",
};
const SETTING_UP: Reason = Reason {
    title: "Setting sandboxes up",
    attacks: "F1, F8",
    why: "The guest makes these calls with a key. Root of a nested namespace can reach most of \
          the kernel's attack surface (CVE-2022-0185, CVE-2022-0492, CVE-2024-1086).",
};
const CLONE3: Reason = Reason {
    title: "clone3",
    attacks: "F1",
    why: "The flags of clone3(2) are in memory, which a filter cannot read. Libraries fall back to \
          clone(2).",
};
const SOCKETS: Reason = Reason {
    title: "Sockets",
    attacks: "F4, F7, G3, H1",
    why: "Only the local family is allowed. If the network policy permits egress, TCP is allowed \
          too, without SCTP and other protocols that the kernel would load. Other families are \
          attack surface: no ordinary program opens AF_ALG (CVE-2026-31431), AF_PACKET \
          (CVE-2020-14386) or AF_VSOCK (CVE-2021-26708). Libraries try AF_INET and AF_NETLINK, \
          which is not a violation.",
};
const TERMINALS: Reason = Reason {
    title: "Terminals",
    attacks: "I1",
    why: "These requests insert input into a terminal (CVE-2017-5226) or paste on the console. \
          The sandbox has no terminal, and the filter is a second check.",
};
const DOMAINS: Reason = Reason {
    title: "Execution domains",
    attacks: "F6",
    why: "The default domain, the 32-bit domain and the query are allowed. Others enable old \
          bugs, and disable address randomisation.",
};
const LIMITS: Reason = Reason {
    title: "Limits",
    attacks: "A5, D4",
    why: "The guest is process 1. If it has the target's user id, the target could lower its \
          limits and so make it fail. The core limit is 1, at which the kernel starts no crash \
          handler of the host (core(5)). 0 would start one, so that setting the limit succeeds \
          without effect.",
};

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET`
const NEW_NAMESPACES: u32 = 0x7E02_0000;
const CLONE_NEWTIME: u32 = 0x80;
const AF_UNIX: u32 = 1;
const AF_PACKET: u32 = 17;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
/// `SOCK_STREAM`, alone and with `SOCK_NONBLOCK`, `SOCK_CLOEXEC` or both. Any other bit makes it
/// invalid.
const STREAMS: &[u32] = &[0x1, 0x801, 0x8_0001, 0x8_0801];
/// TCP as the default protocol of a stream, and by its number.
const TCP: &[u32] = &[0, 6];
const RLIMIT_CORE: u32 = 4;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;
/// `PER_LINUX`, `PER_LINUX32`, each with and without `UNAME26`, and the query.
const COMMON_DOMAINS: &[u32] = &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// The guest, as its own sandbox numbers it.
const PROCESS_1: u32 = 1;

/// Returns a rule for every call with this number.
const fn every(number: u32, name: &'static str, action: Action, reason: &'static Reason) -> Rule {
    Rule { number, name, conditions: &[], which: "", action, reason }
}

/// Returns a rule for calls with certain arguments.
const fn some(
    number: u32,
    name: &'static str,
    conditions: &'static [Condition],
    which: &'static str,
    action: Action,
    reason: &'static Reason,
) -> Rule {
    Rule { number, name, conditions, which, action, reason }
}

/// The policy.
pub const RULES: [Rule; 91] = [
    every(101, "ptrace", Refuse(EPERM), &OTHERS),
    every(310, "process_vm_readv", Refuse(EPERM), &OTHERS),
    every(311, "process_vm_writev", Refuse(EPERM), &OTHERS),
    every(312, "kcmp", Refuse(EPERM), &OTHERS),
    every(438, "pidfd_getfd", Report(EPERM), &OTHERS),
    every(440, "process_madvise", Refuse(EPERM), &OTHERS),
    every(448, "process_mrelease", Refuse(EPERM), &OTHERS),
    every(155, "pivot_root", Report(EPERM), &ROOTS),
    every(161, "chroot", Refuse(EPERM), &ROOTS),
    every(428, "open_tree", Report(EPERM), &MOUNTS),
    every(429, "move_mount", Report(EPERM), &MOUNTS),
    every(430, "fsopen", Report(EPERM), &MOUNTS),
    every(431, "fsconfig", Report(EPERM), &MOUNTS),
    every(432, "fsmount", Report(EPERM), &MOUNTS),
    every(433, "fspick", Report(EPERM), &MOUNTS),
    every(442, "mount_setattr", Report(EPERM), &MOUNTS),
    every(467, "open_tree_attr", Report(EPERM), &MOUNTS),
    every(457, "statmount", Refuse(ENOSYS), &MOUNTS),
    every(458, "listmount", Refuse(ENOSYS), &MOUNTS),
    every(303, "name_to_handle_at", Refuse(EPERM), &HANDLES),
    every(304, "open_by_handle_at", Report(EPERM), &HANDLES),
    every(248, "add_key", Refuse(EPERM), &KEYS),
    every(249, "request_key", Refuse(EPERM), &KEYS),
    every(250, "keyctl", Refuse(EPERM), &KEYS),
    every(298, "perf_event_open", Refuse(EPERM), &SURFACE),
    every(300, "fanotify_init", Refuse(EPERM), &SURFACE),
    every(321, "bpf", Report(EPERM), &SURFACE),
    every(323, "userfaultfd", Report(EPERM), &SURFACE),
    every(447, "memfd_secret", Refuse(ENOSYS), &SURFACE),
    every(451, "cachestat", Refuse(ENOSYS), &SURFACE),
    every(460, "lsm_set_self_attr", Refuse(EPERM), &SURFACE),
    every(425, "io_uring_setup", Refuse(ENOSYS), &IO_URING),
    every(426, "io_uring_enter", Refuse(ENOSYS), &IO_URING),
    every(427, "io_uring_register", Refuse(ENOSYS), &IO_URING),
    every(103, "syslog", Refuse(EPERM), &MACHINE),
    every(153, "vhangup", Refuse(EPERM), &MACHINE),
    every(159, "adjtimex", Refuse(EPERM), &MACHINE),
    every(305, "clock_adjtime", Refuse(EPERM), &MACHINE),
    every(163, "acct", Report(EPERM), &MACHINE),
    every(164, "settimeofday", Report(EPERM), &MACHINE),
    every(227, "clock_settime", Report(EPERM), &MACHINE),
    every(167, "swapon", Report(EPERM), &MACHINE),
    every(168, "swapoff", Report(EPERM), &MACHINE),
    every(169, "reboot", Report(EPERM), &MACHINE),
    every(171, "setdomainname", Refuse(EPERM), &MACHINE),
    every(172, "iopl", Report(EPERM), &MACHINE),
    every(173, "ioperm", Report(EPERM), &MACHINE),
    every(174, "create_module", Report(EPERM), &MACHINE),
    every(175, "init_module", Report(EPERM), &MACHINE),
    every(313, "finit_module", Report(EPERM), &MACHINE),
    every(176, "delete_module", Report(EPERM), &MACHINE),
    every(179, "quotactl", Report(EPERM), &MACHINE),
    every(443, "quotactl_fd", Report(EPERM), &MACHINE),
    every(246, "kexec_load", Report(EPERM), &MACHINE),
    every(320, "kexec_file_load", Report(EPERM), &MACHINE),
    every(134, "uselib", Refuse(EPERM), &RELICS),
    every(136, "ustat", Refuse(EPERM), &RELICS),
    every(139, "sysfs", Refuse(EPERM), &RELICS),
    every(154, "modify_ldt", Refuse(EPERM), &RELICS),
    every(156, "_sysctl", Refuse(EPERM), &RELICS),
    every(180, "nfsservctl", Refuse(EPERM), &RELICS),
    every(212, "lookup_dcookie", Refuse(EPERM), &RELICS),
    every(236, "vserver", Refuse(ENOSYS), &RELICS),
    every(237, "mbind", Refuse(EPERM), &PLACES),
    every(238, "set_mempolicy", Refuse(EPERM), &PLACES),
    every(239, "get_mempolicy", Refuse(EPERM), &PLACES),
    every(256, "migrate_pages", Refuse(EPERM), &PLACES),
    every(279, "move_pages", Refuse(EPERM), &PLACES),
    every(450, "set_mempolicy_home_node", Refuse(EPERM), &PLACES),
    every(165, "mount", Report(EPERM), &SETTING_UP),
    every(166, "umount2", Report(EPERM), &SETTING_UP),
    every(308, "setns", Report(EPERM), &SETTING_UP),
    every(170, "sethostname", Refuse(EPERM), &SETTING_UP),
    some(
        56,
        "clone",
        &[AnyBit(0, NEW_NAMESPACES)],
        "with a new namespace",
        Report(EPERM),
        &SETTING_UP,
    ),
    some(
        272,
        "unshare",
        &[AnyBit(0, NEW_NAMESPACES | CLONE_NEWTIME)],
        "with a new namespace",
        Report(EPERM),
        &SETTING_UP,
    ),
    every(435, "clone3", Refuse(ENOSYS), &CLONE3),
    some(41, "socket", &[OneOf(0, &[AF_UNIX])], "of AF_UNIX", Allow, &SOCKETS),
    some(
        41,
        "socket",
        &[Inet(0), OneOf(1, STREAMS), OneOf(2, TCP)],
        "of AF_INET or AF_INET6 for TCP, where the network policy admits it",
        Allow,
        &SOCKETS,
    ),
    some(41, "socket", &[OneOf(0, &[AF_ALG])], "of AF_ALG", Report(EAFNOSUPPORT), &SOCKETS),
    some(41, "socket", &[OneOf(0, &[AF_VSOCK])], "of AF_VSOCK", Report(EAFNOSUPPORT), &SOCKETS),
    some(41, "socket", &[OneOf(0, &[AF_PACKET])], "of AF_PACKET", Report(EAFNOSUPPORT), &SOCKETS),
    some(
        41,
        "socket",
        &[],
        "of any other family, type or protocol",
        Refuse(EAFNOSUPPORT),
        &SOCKETS,
    ),
    some(53, "socketpair", &[OneOf(0, &[AF_UNIX])], "of AF_UNIX", Allow, &SOCKETS),
    some(53, "socketpair", &[], "of any other family", Refuse(EAFNOSUPPORT), &SOCKETS),
    some(16, "ioctl", &[OneOf(1, &[TIOCSTI])], "with TIOCSTI", Report(EPERM), &TERMINALS),
    some(16, "ioctl", &[OneOf(1, &[TIOCLINUX])], "with TIOCLINUX", Report(EPERM), &TERMINALS),
    some(135, "personality", &[OneOf(0, COMMON_DOMAINS)], "of a common domain", Allow, &DOMAINS),
    some(135, "personality", &[], "of any other", Refuse(EPERM), &DOMAINS),
    some(160, "setrlimit", &[OneOf(0, &[RLIMIT_CORE])], "of RLIMIT_CORE", Refuse(PRETEND), &LIMITS),
    some(
        302,
        "prlimit64",
        &[NotNull(2), OneOf(0, &[PROCESS_1])],
        "that sets a limit of process 1",
        Refuse(EPERM),
        &LIMITS,
    ),
    some(
        302,
        "prlimit64",
        &[NotNull(2), OneOf(1, &[RLIMIT_CORE])],
        "that sets RLIMIT_CORE",
        Refuse(PRETEND),
        &LIMITS,
    ),
];
