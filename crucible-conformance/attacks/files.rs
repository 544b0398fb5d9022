//! Attacks on host objects: files, processes, devices, kernel settings, descriptors, variables.

use core::ffi::CStr;

use super::context::AttackContext;
use super::nr;
use super::report::TextBuffer;
use super::sys::{self, O_DIRECTORY, O_RDWR, O_WRONLY};

/// Reads the file by its path and by paths that have bypassed checks before.
pub(crate) fn read_a_host_file(context: &AttackContext) {
    let mut ways = [TextBuffer::new(), TextBuffer::new(), TextBuffer::new(), TextBuffer::new()];
    let starts = [b"".as_slice(), b"/proc/self/root", b"/proc/1/root", b"/../../../.."];
    for (way, start) in ways.iter_mut().zip(starts) {
        let mut bytes = [0; 256];
        let opened = sys::open(way.push(start).push(context.file.to_bytes()).path(), 0);
        if let Ok(count) = opened.and_then(|file| sys::read(file, &mut bytes)) {
            // The host recognizes the content.
            context.report_finding(bytes.get(..count).unwrap_or_default());
        }
    }
}

pub(crate) fn write_a_host_file(context: &AttackContext) {
    if let Ok(file) = sys::open(context.file, O_RDWR) {
        let _written = sys::write(file, b"owned");
    }
    let _removed = sys::unlink(context.file);
}

/// Counts the visible processes and reads the command line of a host process.
pub(crate) fn see_host_processes(context: &AttackContext) {
    let directory = match sys::open(c"/proc", O_DIRECTORY) {
        Ok(directory) => directory,
        Err(error) => context.abort_setup(b"open", error),
    };
    let mut entries = [0u8; 4096];
    let mut processes = 0u64;
    while let Ok(count) =
        sys::call(nr::GETDENTS64, [directory, sys::mut_ptr(&mut entries), entries.len()])
    {
        if count == 0 {
            break;
        }
        let mut rest = entries.get(..count).unwrap_or_default();
        // inode, offset, length, kind, name
        while let Some(length) =
            rest.get(16..18).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes)
        {
            processes += u64::from(rest.get(19).is_some_and(u8::is_ascii_digit));
            rest = rest.get(usize::from(length).max(19)..).unwrap_or_default();
        }
    }
    let mut path = TextBuffer::new();
    path.push(b"/proc/").number(u64::from(context.pid.unsigned_abs())).push(b"/cmdline");
    if sys::open(path.path(), 0)
        .and_then(|file| sys::read(file, &mut [0; 64]))
        .is_ok_and(|count| count > 0)
    {
        context.report_harm(b"a process of the host");
    }
    let mut line = TextBuffer::new();
    line.push(b"processes: ").number(processes);
    context.report_finding(line.path().to_bytes());
    if processes > 2 {
        context.report_harm(b"more processes than its own");
    }
}

fn attempt_open_all(context: &AttackContext, paths: &[&CStr], flags: usize) {
    for path in paths {
        context.report_attempt(path.to_bytes(), &sys::open(path, flags));
    }
}

/// Opens the files without reading them.
pub(crate) fn kernel_memory(context: &AttackContext) {
    for path in [c"/proc/kcore", c"/dev/mem", c"/dev/kmsg", c"/proc/kmsg"] {
        context.report_attempt(path.to_bytes(), &sys::open(path, 0));
    }
}

/// Opens settings for writing, without writing. Some of them have led out of containers, because
/// they name a program that the kernel starts.
pub(crate) fn kernel_settings(context: &AttackContext) {
    let paths = [
        c"/proc/sys/kernel/core_pattern",
        c"/proc/sys/kernel/modprobe",
        c"/proc/sys/vm/overcommit_memory",
        c"/proc/sys/fs/suid_dumpable",
    ];
    attempt_open_all(context, &paths, O_WRONLY);
}

pub(crate) fn sysrq(context: &AttackContext) {
    attempt_open_all(context, &[c"/proc/sysrq-trigger", c"/proc/sys/kernel/sysrq"], O_WRONLY);
}

/// Mounts a cgroup hierarchy to set the program that the kernel starts when a group is empty
/// (CVE-2022-0492).
pub(crate) fn release_agent(context: &AttackContext) {
    let cgroup = sys::cstr_ptr(c"cgroup");
    let mounted = sys::call(
        nr::MOUNT,
        [
            cgroup,
            sys::cstr_ptr(context.work_dir),
            cgroup,
            0,
            sys::cstr_ptr(c"none,name=crucible-attack"),
        ],
    );
    context.report_attempt(b"mount", &mounted);
    for path in [c"/sys/fs/cgroup/memory/release_agent", c"/sys/fs/cgroup/cgroup.procs"] {
        if sys::open(path, O_WRONLY).is_ok() {
            context.report_harm(path.to_bytes());
        }
    }
}

pub(crate) fn raw_devices(context: &AttackContext) {
    for path in
        [c"/dev/vda", c"/dev/sda", c"/dev/nvme0n1", c"/dev/kvm", c"/dev/fuse", c"/dev/loop-control"]
    {
        if sys::open(path, 0).is_ok() {
            context.report_harm(path.to_bytes());
        }
    }
    // The harmless devices must work.
    for path in [c"/dev/null", c"/dev/zero", c"/dev/urandom"] {
        if let Err(error) = sys::open(path, 0) {
            context.abort_setup(path.to_bytes(), error);
        }
    }
}

pub(crate) fn inherited_descriptors(context: &AttackContext) {
    const F_GETFD: usize = 1;
    for fd in 3..4096 {
        if sys::call(nr::FCNTL, [fd, F_GETFD]).is_ok() {
            let mut line = TextBuffer::new();
            context.report_harm(
                line.push(b"descriptor ")
                    .number(u64::try_from(fd).unwrap_or_default())
                    .path()
                    .to_bytes(),
            );
        }
    }
}

pub(crate) fn host_environment(context: &AttackContext) {
    for variable in sys::environment() {
        context.report_finding(variable.to_bytes());
    }
}
