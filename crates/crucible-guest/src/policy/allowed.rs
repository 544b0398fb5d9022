//! What was looked at and is allowed, so that nobody takes it for forgotten.

/// Calls that are allowed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedCalls {
    /// Their names.
    pub calls: &'static str,
    /// Why they stay.
    pub why: &'static str,
}

const fn allowed(calls: &'static str, why: &'static str) -> AllowedCalls {
    AllowedCalls { calls, why }
}

/// What was looked at and is allowed.
pub const ALLOWED: [AllowedCalls; 15] = [
    allowed(
        "seccomp, prctl",
        "A program may restrict itself further. Its own filter cannot loosen ours. It cannot have a listener of its \
         own (`EBUSY`): the kernel has one for a chain of filters.",
    ),
    allowed("landlock_create_ruleset, landlock_add_rule, landlock_restrict_self", "Likewise."),
    allowed(
        "mseal",
        "It takes away from a program's own memory what could be done with it, and gives nothing.",
    ),
    allowed(
        "map_shadow_stack",
        "Libraries harden threads with it; it maps memory of the caller's own.",
    ),
    allowed(
        "uretprobe, uprobe",
        "Only a trampoline of the kernel's own makes them; from anywhere else the kernel ends the process. To refuse \
         them would break programs that the host traces.",
    ),
    allowed(
        "set_robust_list, rseq, membarrier, futex and its relatives",
        "Every thread of every C library makes them.",
    ),
    allowed(
        "pidfd_open, pidfd_send_signal",
        "They reach what kill(2) reaches: the sandbox's own processes. Taking descriptors out of one is refused.",
    ),
    allowed(
        "splice, tee, vmsplice, sendfile, copy_file_range",
        "Runtimes copy with them. Kernels before 5.16.11 have a bug here that writes to read-only files \
         (CVE-2022-0847): use a newer one.",
    ),
    allowed(
        "memfd_create, shmget, mq_open and their relatives",
        "Their memory counts for the sandbox's limit, and System V IPC and message queues are in a namespace of its \
         own.",
    ),
    allowed(
        "io_setup, io_submit and their relatives",
        "The old asynchronous input and output: databases need it.",
    ),
    allowed(
        "lsm_get_self_attr, lsm_list_modules",
        "They say of the caller what `/proc/self/attr` says, and which modules there are.",
    ),
    allowed(
        "file_getattr, file_setattr",
        "What ioctl(2) on a file does already. What needs privileges still does.",
    ),
    allowed(
        "sched_setattr, sched_setaffinity, setpriority, ioprio_set",
        "The kernel lets nobody raise what needs privileges, and the CPU limit is the cgroup's.",
    ),
    allowed(
        "chown, setuid, setgroups, capset, mknod and their relatives",
        "The kernel refuses them for lack of a capability or of a mapped id. Package managers and archivers expect \
         that answer from it.",
    ),
    allowed(
        "inotify_init1, epoll_create1, eventfd2, timerfd_create, signalfd4",
        "Event loops need them.",
    ),
];
