//! What the host has: files, processes, devices, settings, descriptors, variables.

use core::ffi::CStr;

use super::nr;
use super::report::Line;
use super::scene::Scene;
use super::sys::{self, O_DIRECTORY, O_RDWR, O_WRONLY};

/// By its path, and by the ways in which paths have been got round.
pub(crate) fn read_a_host_file(scene: &Scene) {
    let mut ways = [Line::new(), Line::new(), Line::new(), Line::new()];
    let starts = [b"".as_slice(), b"/proc/self/root", b"/proc/1/root", b"/../../../.."];
    for (way, start) in ways.iter_mut().zip(starts) {
        let mut bytes = [0; 256];
        let opened = sys::open(way.push(start).push(scene.file.to_bytes()).path(), 0);
        if let Ok(count) = opened.and_then(|file| sys::read(file, &mut bytes)) {
            // The host knows what is in it.
            scene.found(bytes.get(..count).unwrap_or_default());
        }
    }
}

pub(crate) fn write_a_host_file(scene: &Scene) {
    if let Ok(file) = sys::open(scene.file, O_RDWR) {
        let _written = sys::write(file, b"owned");
    }
    let _removed = sys::unlink(scene.file);
}

/// Each process whose command line has somebody else's mark, and how many there are.
pub(crate) fn see_host_processes(scene: &Scene) {
    let directory = match sys::open(c"/proc", O_DIRECTORY) {
        Ok(directory) => directory,
        Err(error) => scene.broken(b"open", error),
    };
    let mut entries = [0u8; 4096];
    let mut processes = 0u64;
    while let Ok(count) = sys::call(nr::GETDENTS64, [directory, sys::into(&mut entries), entries.len()]) {
        if count == 0 {
            break;
        }
        let mut rest = entries.get(..count).unwrap_or_default();
        // inode, offset, length, kind, name
        while let Some(length) = rest.get(16..18).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes) {
            processes += u64::from(rest.get(19).is_some_and(u8::is_ascii_digit));
            rest = rest.get(usize::from(length).max(19)..).unwrap_or_default();
        }
    }
    let mut path = Line::new();
    path.push(b"/proc/").number(u64::from(scene.pid.unsigned_abs())).push(b"/cmdline");
    if sys::open(path.path(), 0).and_then(|file| sys::read(file, &mut [0; 64])).is_ok_and(|count| count > 0) {
        scene.harm(b"a process of the host");
    }
    let mut line = Line::new();
    line.push(b"processes: ").number(processes);
    scene.found(line.path().to_bytes());
    if processes > 2 {
        scene.harm(b"more processes than its own");
    }
}

fn try_paths(scene: &Scene, paths: &[&CStr], flags: usize) {
    for path in paths {
        scene.tried(path.to_bytes(), &sys::open(path, flags));
    }
}

/// Opened only.
pub(crate) fn kernel_memory(scene: &Scene) {
    for path in [c"/proc/kcore", c"/dev/mem", c"/dev/kmsg", c"/proc/kmsg"] {
        scene.tried(path.to_bytes(), &sys::open(path, 0));
    }
}

/// Opened only: those that lead out of containers by the program that the kernel starts.
pub(crate) fn kernel_settings(scene: &Scene) {
    let paths = [
        c"/proc/sys/kernel/core_pattern",
        c"/proc/sys/kernel/modprobe",
        c"/proc/sys/vm/overcommit_memory",
        c"/proc/sys/fs/suid_dumpable",
    ];
    try_paths(scene, &paths, O_WRONLY);
}

pub(crate) fn sysrq(scene: &Scene) {
    try_paths(scene, &[c"/proc/sysrq-trigger", c"/proc/sys/kernel/sysrq"], O_WRONLY);
}

/// The program that the kernel starts when a cgroup is empty (CVE-2022-0492).
pub(crate) fn release_agent(scene: &Scene) {
    let cgroup = sys::at(c"cgroup");
    let mounted = sys::call(nr::MOUNT, [cgroup, sys::at(scene.place), cgroup, 0, sys::at(c"none,name=crucible-attack")]);
    scene.tried(b"mount", &mounted);
    for path in [c"/sys/fs/cgroup/memory/release_agent", c"/sys/fs/cgroup/cgroup.procs"] {
        if sys::open(path, O_WRONLY).is_ok() {
            scene.harm(path.to_bytes());
        }
    }
}

pub(crate) fn raw_devices(scene: &Scene) {
    for path in [c"/dev/vda", c"/dev/sda", c"/dev/nvme0n1", c"/dev/kvm", c"/dev/fuse", c"/dev/loop-control"] {
        if sys::open(path, 0).is_ok() {
            scene.harm(path.to_bytes());
        }
    }
    // Those that there are must be of use.
    for path in [c"/dev/null", c"/dev/zero", c"/dev/urandom"] {
        if let Err(error) = sys::open(path, 0) {
            scene.broken(path.to_bytes(), error);
        }
    }
}

pub(crate) fn inherited_descriptors(scene: &Scene) {
    const F_GETFD: usize = 1;
    for fd in 3..4096 {
        if sys::call(nr::FCNTL, [fd, F_GETFD]).is_ok() {
            let mut line = Line::new();
            scene.harm(line.push(b"descriptor ").number(u64::try_from(fd).unwrap_or_default()).path().to_bytes());
        }
    }
}

pub(crate) fn host_environment(scene: &Scene) {
    for variable in sys::environment() {
        scene.found(variable.to_bytes());
    }
}
