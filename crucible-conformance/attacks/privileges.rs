//! Namespaces, credentials, and other processes' memory and descriptors.

use super::children;
use super::nr;
use super::report::Line;
use super::scene::Scene;
use super::sys::{self, O_RDWR};

const CLONE_NEWUSER: usize = 0x1000_0000;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_GET_NO_NEW_PRIVS: usize = 39;

/// In a child: what is made must not be had for what comes after.
fn in_a_child(scene: &Scene, what: &'static [u8], make: impl FnOnce() -> sys::Result<usize>) {
    match children::start(|| scene.tried(what, &make())).and_then(|pid| sys::wait(pid, 0)) {
        Ok(_) => {}
        Err(error) => scene.broken(b"fork", error),
    }
}

pub(crate) fn unshare_user(scene: &Scene) {
    in_a_child(scene, b"unshare", || sys::call(nr::UNSHARE, [CLONE_NEWUSER]));
}

pub(crate) fn unshare_others(scene: &Scene) {
    for (name, flag) in [
        (b"mount".as_slice(), 0x0002_0000),
        (b"cgroup", 0x0200_0000),
        (b"uts", 0x0400_0000),
        (b"ipc", 0x0800_0000),
        (b"pid", 0x2000_0000),
        (b"network", 0x4000_0000),
    ] {
        in_a_child(scene, name, || sys::call(nr::UNSHARE, [flag]));
    }
}

pub(crate) fn clone_user(scene: &Scene) {
    let forked = children::fork_with(CLONE_NEWUSER);
    if forked == Ok(None) {
        sys::exit(0);
    }
    scene.tried(b"clone", &forked);
}

pub(crate) fn clone3_user(scene: &Scene) {
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls
    let arguments = [0x1000_0000u64, 0, 0, 0, 17, 0, 0, 0];
    let forked = sys::call(nr::CLONE3, [sys::of(&arguments), size_of_val(&arguments)]);
    if forked == Ok(0) {
        sys::exit(0);
    }
    scene.tried(b"clone3", &forked);
}

/// Its own: to join even that takes a privilege, and the next could be another's.
pub(crate) fn join_namespace(scene: &Scene) {
    for (what, path) in [
        (b"network".as_slice(), c"/proc/self/ns/net"),
        (b"uts", c"/proc/self/ns/uts"),
        (b"mount", c"/proc/self/ns/mnt"),
    ] {
        match sys::open(path, 0) {
            Ok(namespace) => in_a_child(scene, what, || sys::call(nr::SETNS, [namespace, 0])),
            Err(error) => scene.broken(b"open", error),
        }
    }
}

/// To be the host's root, not somebody who is called so inside.
pub(crate) fn become_root(scene: &Scene) {
    scene.tried(b"setuid", &sys::call(nr::SETUID, [0]));
    // Nobody in particular: the group of nobody's.
    let groups = [0u32];
    scene.tried(b"setgroups", &sys::call(nr::SETGROUPS, [1, sys::of(&groups)]));
}

pub(crate) fn drop_no_new_privs(scene: &Scene) {
    // The kernel lets nobody take it off; should it, the next line sees it.
    let _refused = sys::call(nr::PRCTL, [PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0]);
    if sys::call(nr::PRCTL, [PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0]) == Ok(0) {
        scene.harm(b"programs can gain privileges");
    }
}

pub(crate) fn raise_capabilities(scene: &Scene) {
    const PR_CAPBSET_READ: usize = 23;
    const PR_GET_SECUREBITS: usize = 27;
    /// `NOROOT` and its lock, and that of `KEEP_CAPS`.
    const LOCKED: usize = 0x23;
    let header = [0x2008_0522u32, 0];
    let mut sets = [0u32; 6];
    if let Err(error) = sys::call(nr::CAPGET, [sys::of(&header), sys::into(&mut sets)]) {
        scene.broken(b"capget", error);
    }
    if sets.iter().any(|set| *set != 0) {
        scene.harm(b"it has capabilities");
    }
    if (0..41).any(|capability| sys::call(nr::PRCTL, [PR_CAPBSET_READ, capability, 0, 0, 0]) == Ok(1)) {
        scene.harm(b"the bounding set has capabilities");
    }
    if sys::call(nr::PRCTL, [PR_GET_SECUREBITS, 0, 0, 0, 0]).is_ok_and(|bits| bits & LOCKED != LOCKED) {
        scene.harm(b"root would be special again");
    }
}

fn of_process(pid: i32, name: &[u8]) -> Line {
    let mut path = Line::new();
    path.push(b"/proc/").number(u64::from(pid.unsigned_abs())).push(b"/").push(name);
    path
}

pub(crate) fn read_supervisor_memory(scene: &Scene) {
    let parent = sys::getppid();
    for name in [b"mem".as_slice(), b"environ", b"maps"] {
        let opened = sys::open(of_process(parent, name).path(), if name == b"mem" { O_RDWR } else { 0 });
        // Some files can be opened by anybody and read by few.
        scene.tried(name, &opened.and_then(|file| if name == b"mem" { Ok(0) } else { sys::read(file, &mut [0; 64]) }));
    }
}

pub(crate) fn trace_supervisor(scene: &Scene) {
    trace(scene, sys::getppid());
}

pub(crate) fn trace_host_process(scene: &Scene) {
    trace(scene, scene.pid);
}

fn trace(scene: &Scene, pid: i32) {
    const PTRACE_DETACH: usize = 17;
    const PTRACE_SEIZE: usize = 0x4206;
    scene.tried(b"ptrace", &sys::call(nr::PTRACE, [PTRACE_SEIZE, sys::argument(pid), 0, 0]));
    let _detached = sys::call(nr::PTRACE, [PTRACE_DETACH, sys::argument(pid), 0, 0]);
}

#[repr(C)]
struct Piece {
    start: usize,
    length: usize,
}

/// The program is the same, and lies where it lies here: there is something to read.
pub(crate) fn read_process_memory(scene: &Scene) {
    let mut bytes = [0u8; 16];
    let here = Piece { start: sys::into(&mut bytes), length: 16 };
    let there = Piece { start: 0x40_0000, length: 16 };
    for (what, number) in [(b"read".as_slice(), nr::PROCESS_VM_READV), (b"write", nr::PROCESS_VM_WRITEV)] {
        for pid in [sys::getppid(), scene.pid] {
            let done = sys::call(number, [sys::argument(pid), sys::of(&here), 1, sys::of(&there), 1, 0]);
            scene.tried(what, &done);
        }
    }
}

pub(crate) fn take_descriptor(scene: &Scene) {
    // Its own first, to have one: of itself it may.
    let own = sys::call(nr::PIDFD_OPEN, [sys::argument(sys::getppid()), 0]);
    let taken = own.and_then(|pidfd| sys::call(nr::PIDFD_GETFD, [pidfd, 0, 0]));
    scene.tried(b"pidfd_getfd", &taken);
}

pub(crate) fn compare_processes(scene: &Scene) {
    const KCMP_VM: usize = 1;
    let parent = sys::argument(sys::getppid());
    scene.tried(b"kcmp", &sys::call(nr::KCMP, [parent, sys::argument(sys::getpid()), KCMP_VM, 0, 0]));
}

pub(crate) fn advise_a_process(scene: &Scene) {
    const MADV_COLD: usize = 20;
    // Where this lies, it lies there too, if that is the same program.
    static HERE: [u8; 8192] = [1; 8192];
    let piece = Piece { start: sys::of(&HERE).next_multiple_of(4096), length: 4096 };
    let advised = sys::call(nr::PIDFD_OPEN, [sys::argument(sys::getppid()), 0])
        .and_then(|pidfd| sys::call(nr::PROCESS_MADVISE, [pidfd, sys::of(&piece), 1, MADV_COLD, 0]));
    scene.tried(b"process_madvise", &advised);
}

/// The links of a process lead to where it is: its root, its directory, its program.
pub(crate) fn core_of_another(scene: &Scene) {
    for pid in [sys::getppid(), scene.pid] {
        for name in [b"root/etc/passwd".as_slice(), b"cwd/."] {
            scene.tried(name, &sys::open(of_process(pid, name).path(), 0));
        }
    }
}

