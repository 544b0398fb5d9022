//! Attacks on namespaces, credentials, and other processes' memory and descriptors.

use super::children;
use super::context::AttackContext;
use super::nr;
use super::report::TextBuffer;
use super::sys::{self, O_RDWR};

const CLONE_NEWUSER: usize = 0x1000_0000;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_GET_NO_NEW_PRIVS: usize = 39;

/// Makes an attempt in a child, so that a success does not change the later attempts.
fn attempt_in_child(
    context: &AttackContext,
    what: &'static [u8],
    make: impl FnOnce() -> sys::Result<usize>,
) {
    match children::start(|| context.report_attempt(what, &make()))
        .and_then(|pid| sys::wait(pid, 0))
    {
        Ok(_) => {}
        Err(error) => context.abort_setup(b"fork", error),
    }
}

pub(crate) fn unshare_user(context: &AttackContext) {
    attempt_in_child(context, b"unshare", || sys::call(nr::UNSHARE, [CLONE_NEWUSER]));
}

pub(crate) fn unshare_others(context: &AttackContext) {
    for (name, flag) in [
        (b"mount".as_slice(), 0x0002_0000),
        (b"cgroup", 0x0200_0000),
        (b"uts", 0x0400_0000),
        (b"ipc", 0x0800_0000),
        (b"pid", 0x2000_0000),
        (b"network", 0x4000_0000),
    ] {
        attempt_in_child(context, name, || sys::call(nr::UNSHARE, [flag]));
    }
}

pub(crate) fn clone_user(context: &AttackContext) {
    let forked = children::fork_with(CLONE_NEWUSER);
    if forked == Ok(None) {
        sys::exit(0);
    }
    context.report_attempt(b"clone", &forked);
}

pub(crate) fn clone3_user(context: &AttackContext) {
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls
    let arguments = [0x1000_0000u64, 0, 0, 0, 17, 0, 0, 0];
    let forked = sys::call(nr::CLONE3, [sys::ptr(&arguments), size_of_val(&arguments)]);
    if forked == Ok(0) {
        sys::exit(0);
    }
    context.report_attempt(b"clone3", &forked);
}

/// Joins the program's own namespaces. Even this needs a privilege, and with it a program could
/// join the namespaces of another process.
pub(crate) fn join_namespace(context: &AttackContext) {
    for (what, path) in [
        (b"network".as_slice(), c"/proc/self/ns/net"),
        (b"uts", c"/proc/self/ns/uts"),
        (b"mount", c"/proc/self/ns/mnt"),
    ] {
        match sys::open(path, 0) {
            Ok(namespace) => {
                attempt_in_child(context, what, || sys::call(nr::SETNS, [namespace, 0]))
            }
            Err(error) => context.abort_setup(b"open", error),
        }
    }
}

/// Becomes root of the host, not root of a user namespace.
pub(crate) fn become_root(context: &AttackContext) {
    context.report_attempt(b"setuid", &sys::call(nr::SETUID, [0]));
    // The group of root.
    let groups = [0u32];
    context.report_attempt(b"setgroups", &sys::call(nr::SETGROUPS, [1, sys::ptr(&groups)]));
}

pub(crate) fn drop_no_new_privs(context: &AttackContext) {
    // The kernel does not allow this. If it did, the next call would show it.
    let _refused = sys::call(nr::PRCTL, [PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0]);
    if sys::call(nr::PRCTL, [PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0]) == Ok(0) {
        context.report_harm(b"programs can gain privileges");
    }
}

pub(crate) fn raise_capabilities(context: &AttackContext) {
    const PR_CAPBSET_READ: usize = 23;
    const PR_GET_SECUREBITS: usize = 27;
    /// `NOROOT`, its lock, and the lock of `KEEP_CAPS`.
    const LOCKED: usize = 0x23;
    let header = [0x2008_0522u32, 0];
    let mut sets = [0u32; 6];
    if let Err(error) = sys::call(nr::CAPGET, [sys::ptr(&header), sys::mut_ptr(&mut sets)]) {
        context.abort_setup(b"capget", error);
    }
    if sets.iter().any(|set| *set != 0) {
        context.report_harm(b"it has capabilities");
    }
    if (0..41)
        .any(|capability| sys::call(nr::PRCTL, [PR_CAPBSET_READ, capability, 0, 0, 0]) == Ok(1))
    {
        context.report_harm(b"the bounding set has capabilities");
    }
    if sys::call(nr::PRCTL, [PR_GET_SECUREBITS, 0, 0, 0, 0])
        .is_ok_and(|bits| bits & LOCKED != LOCKED)
    {
        context.report_harm(b"user id 0 would regain capabilities");
    }
}

fn proc_path(pid: i32, name: &[u8]) -> TextBuffer {
    let mut path = TextBuffer::new();
    path.push(b"/proc/").number(u64::from(pid.unsigned_abs())).push(b"/").push(name);
    path
}

pub(crate) fn read_supervisor_memory(context: &AttackContext) {
    let parent = sys::getppid();
    for name in [b"mem".as_slice(), b"environ", b"maps"] {
        let opened =
            sys::open(proc_path(parent, name).path(), if name == b"mem" { O_RDWR } else { 0 });
        // Some files can be opened without the permission to read them.
        context.report_attempt(
            name,
            &opened.and_then(
                |file| if name == b"mem" { Ok(0) } else { sys::read(file, &mut [0; 64]) },
            ),
        );
    }
}

pub(crate) fn trace_supervisor(context: &AttackContext) {
    trace(context, sys::getppid());
}

pub(crate) fn trace_host_process(context: &AttackContext) {
    trace(context, context.pid);
}

fn trace(context: &AttackContext, pid: i32) {
    const PTRACE_DETACH: usize = 17;
    const PTRACE_SEIZE: usize = 0x4206;
    context
        .report_attempt(b"ptrace", &sys::call(nr::PTRACE, [PTRACE_SEIZE, sys::signed(pid), 0, 0]));
    let _detached = sys::call(nr::PTRACE, [PTRACE_DETACH, sys::signed(pid), 0, 0]);
}

#[repr(C)]
struct IoVec {
    start: usize,
    length: usize,
}

/// Reads and writes memory of other processes. In a control the process above is the same
/// executable at the same address, so that there is something to read.
pub(crate) fn read_process_memory(context: &AttackContext) {
    let mut bytes = [0u8; 16];
    let here = IoVec { start: sys::mut_ptr(&mut bytes), length: 16 };
    let there = IoVec { start: 0x40_0000, length: 16 };
    for (what, number) in
        [(b"read".as_slice(), nr::PROCESS_VM_READV), (b"write", nr::PROCESS_VM_WRITEV)]
    {
        for pid in [sys::getppid(), context.pid] {
            let done =
                sys::call(number, [sys::signed(pid), sys::ptr(&here), 1, sys::ptr(&there), 1, 0]);
            context.report_attempt(what, &done);
        }
    }
}

pub(crate) fn take_descriptor(context: &AttackContext) {
    // Descriptor 0 of the parent process.
    let own = sys::call(nr::PIDFD_OPEN, [sys::signed(sys::getppid()), 0]);
    let taken = own.and_then(|pidfd| sys::call(nr::PIDFD_GETFD, [pidfd, 0, 0]));
    context.report_attempt(b"pidfd_getfd", &taken);
}

pub(crate) fn compare_processes(context: &AttackContext) {
    const KCMP_VM: usize = 1;
    let parent = sys::signed(sys::getppid());
    context.report_attempt(
        b"kcmp",
        &sys::call(nr::KCMP, [parent, sys::signed(sys::getpid()), KCMP_VM, 0, 0]),
    );
}

pub(crate) fn advise_a_process(context: &AttackContext) {
    const MADV_COLD: usize = 20;
    // The address is mapped in the other process as well, if it is the same executable.
    static HERE: [u8; 8192] = [1; 8192];
    let piece = IoVec { start: sys::ptr(&HERE).next_multiple_of(4096), length: 4096 };
    let advised = sys::call(nr::PIDFD_OPEN, [sys::signed(sys::getppid()), 0]).and_then(|pidfd| {
        sys::call(nr::PROCESS_MADVISE, [pidfd, sys::ptr(&piece), 1, MADV_COLD, 0])
    });
    context.report_attempt(b"process_madvise", &advised);
}

/// Opens files through the links in `/proc` to another process's root and working directory.
pub(crate) fn core_of_another(context: &AttackContext) {
    for pid in [sys::getppid(), context.pid] {
        for name in [b"root/etc/passwd".as_slice(), b"cwd/."] {
            context.report_attempt(name, &sys::open(proc_path(pid, name).path(), 0));
        }
    }
}
