//! Calls that were reviewed and are allowed.

/// System calls that are allowed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedCalls {
    /// Their names.
    pub calls: &'static str,
    /// The reason why they are allowed.
    pub why: &'static str,
}

const fn allowed(calls: &'static str, why: &'static str) -> AllowedCalls {
    AllowedCalls { calls, why }
}

/// The calls that were reviewed and are allowed.
pub const ALLOWED: [AllowedCalls; 15] = [
    allowed(
        "seccomp, prctl",
        "A program may restrict itself further. Its own filter cannot weaken the sandbox's \
         filter. It cannot have a listener of its own (`EBUSY`): the kernel allows one for each \
         chain of filters.",
    ),
    allowed(
        "landlock_create_ruleset, landlock_add_rule, landlock_restrict_self",
        "A program may restrict itself further.",
    ),
    allowed("mseal", "It makes the caller's own memory immutable, and grants nothing."),
    allowed(
        "map_shadow_stack",
        "Libraries use it to harden threads. It maps memory of the caller.",
    ),
    allowed(
        "uretprobe, uprobe",
        "Only a trampoline of the kernel makes these calls. The kernel kills any other caller. \
         Refusing them would break programs that the host traces.",
    ),
    allowed(
        "set_robust_list, rseq, membarrier, futex and related calls",
        "Every thread of every C library uses them.",
    ),
    allowed(
        "pidfd_open, pidfd_send_signal",
        "They reach the same processes as kill(2): those of the sandbox. Copying a descriptor of \
         another process is refused.",
    ),
    allowed(
        "splice, tee, vmsplice, sendfile, copy_file_range",
        "Runtimes copy with them. Kernels before 5.16.11 have a bug that lets them write to \
         read-only files (CVE-2022-0847): use a newer kernel.",
    ),
    allowed(
        "memfd_create, shmget, mq_open and related calls",
        "Their memory counts towards the sandbox's limit, and System V IPC and message queues \
         have a namespace of their own.",
    ),
    allowed(
        "io_setup, io_submit and related calls",
        "Databases need this older interface for asynchronous input and output.",
    ),
    allowed(
        "lsm_get_self_attr, lsm_list_modules",
        "They return the caller's `/proc/self/attr` and the list of security modules.",
    ),
    allowed(
        "file_getattr, file_setattr",
        "They do the same as ioctl(2) on a file. Operations that need privileges still need them.",
    ),
    allowed(
        "sched_setattr, sched_setaffinity, setpriority, ioprio_set",
        "The kernel checks the privileges for higher priorities, and the cgroup limits CPU time.",
    ),
    allowed(
        "chown, setuid, setgroups, capset, mknod and related calls",
        "The kernel refuses them for lack of a capability or of a mapped id. Package managers and \
         archivers expect that error.",
    ),
    allowed(
        "inotify_init1, epoll_create1, eventfd2, timerfd_create, signalfd4",
        "Event loops need them.",
    ),
];
