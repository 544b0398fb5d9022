//! Attacks on disk space, inodes, special files, and system directories.

use super::children;
use super::context::AttackContext;
use super::nr;
use super::report::TextBuffer;
use super::sys::{self, O_CREAT, O_EXCL, O_RDWR, O_WRONLY, SIGABRT, SysError};

/// Four times the limit of the suite.
const SIZE: usize = 64 * 1024 * 1024;
/// Five times the limit of the suite.
const FILES: u64 = 5000;

fn fill(context: &AttackContext, path: &core::ffi::CStr) {
    let file = match sys::open(path, O_CREAT | O_WRONLY) {
        Ok(file) => file,
        Err(error) => context.abort_setup(b"open", error),
    };
    let piece = [7u8; 64 * 1024];
    for _ in 0..SIZE / piece.len() {
        if let Err(error) = sys::write(file, &piece) {
            context.report_attempt::<()>(b"write", &Err(error));
            return;
        }
    }
    context.report_harm(b"64 MiB");
}

pub(crate) fn fill_tmp(context: &AttackContext) {
    fill(context, context.path_in_work_dir(b"full").path());
}

/// Fills the working directory, which holds the results.
pub(crate) fn fill_box(context: &AttackContext) {
    fill(context, c"full");
}

pub(crate) fn reserve(context: &AttackContext) {
    let reserved = sys::open(context.path_in_work_dir(b"reserved").path(), O_CREAT | O_WRONLY)
        .and_then(|file| sys::call(nr::FALLOCATE, [file, 0, 0, SIZE]));
    match reserved {
        Ok(_) => context.report_harm(b"64 MiB"),
        Err(error) => {
            context.report_attempt::<()>(b"fallocate", &Err(error));
            // A failed fallocate(2) leaves the disk unchanged. Writing in pieces fills it.
            fill(context, context.path_in_work_dir(b"full").path());
        }
    }
}

pub(crate) fn sparse_then_touch(context: &AttackContext) {
    const SEEK: usize = 1 << 20;
    let file = match sys::open(context.path_in_work_dir(b"sparse").path(), O_CREAT | O_RDWR) {
        Ok(file) => file,
        Err(error) => context.abort_setup(b"open", error),
    };
    if let Err(error) = sys::call(nr::FTRUNCATE, [file, SIZE * SEEK]) {
        context.report_attempt::<()>(b"ftruncate", &Err(error));
    }
    fill(context, context.path_in_work_dir(b"sparse").path());
}

fn many(context: &AttackContext, make: impl Fn(&core::ffi::CStr) -> sys::Result<usize>) {
    for number in 0..FILES {
        let mut path = context.path_in_work_dir(b"many-");
        if let Err(error) = make(path.number(number).path()) {
            context.report_attempt::<()>(b"make", &Err(error));
            return;
        }
    }
    context.report_harm(b"5000 inodes");
}

pub(crate) fn many_files(context: &AttackContext) {
    many(context, |path| {
        sys::open(path, O_CREAT | O_EXCL | O_WRONLY).inspect(|file| sys::close(*file))
    });
}

/// Creates nested directories.
pub(crate) fn many_directories(context: &AttackContext) {
    if let Err(error) = sys::chdir(context.work_dir) {
        context.abort_setup(b"chdir", error);
    }
    for _ in 0..FILES {
        if let Err(error) = sys::mkdir(c"d").and_then(|_| sys::chdir(c"d")) {
            context.report_attempt::<()>(b"make", &Err(error));
            return;
        }
    }
    context.report_harm(b"5000 directories");
}

pub(crate) fn many_links(context: &AttackContext) {
    many(context, |path| {
        sys::symlink(
            c"/a/target/that/is/long/enough/to/need/memory/of/its/own/in/the/kernel/for/each",
            path,
        )
    });
}

/// Opens files for writing, without writing, because that would harm a control's host.
pub(crate) fn write_to_the_system(context: &AttackContext) {
    for path in [c"/etc/passwd", c"/usr/bin/env", c"/etc/group"] {
        context.report_attempt(path.to_bytes(), &sys::open(path, O_WRONLY));
    }
    for directory in [b"/usr/bin".as_slice(), b"/etc", b"/", b"/dev"] {
        let mut path = TextBuffer::new();
        path.push(directory).push(b"/").push(context.mark.to_bytes());
        let made = sys::open(path.path(), O_CREAT | O_EXCL | O_WRONLY);
        if made.is_ok() {
            let _removed = sys::unlink(path.path());
        }
        context.report_attempt(directory, &made);
    }
}

pub(crate) fn make_devices(context: &AttackContext) {
    const CHARACTER: usize = 0o020_600;
    const BLOCK: usize = 0o060_600;
    // `/dev/mem` and the first disk.
    for (name, mode, device) in
        [(b"mem".as_slice(), CHARACTER, 1 << 8 | 1), (b"disk", BLOCK, 254 << 8)]
    {
        let mut path = context.path_in_work_dir(name);
        let made = sys::call(nr::MKNOD, [sys::cstr_ptr(path.path()), mode, device]);
        context.report_attempt(name, &made);
        let _removed = sys::unlink(path.path());
    }
}

/// Aborts a child with the largest core limit that the kernel accepts.
pub(crate) fn dump_core(context: &AttackContext) {
    const RLIMIT_CORE: usize = 4;
    const CORE_DUMPED: u32 = 0x80;
    if let Err(error) = sys::chdir(context.work_dir) {
        context.abort_setup(b"chdir", error);
    }
    let started = children::start(|| {
        for limit in [u64::MAX, 1 << 30, 1 << 20] {
            let limits = [limit, limit];
            let _set = sys::call(nr::SETRLIMIT, [RLIMIT_CORE, sys::ptr(&limits)]);
            let _set = sys::call(nr::PRLIMIT64, [0, RLIMIT_CORE, sys::ptr(&limits), 0]);
        }
        let _sent = sys::kill(sys::getpid(), SIGABRT);
    });
    match started.and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) if status & CORE_DUMPED != 0 => context.report_harm(b"a core was dumped"),
        Ok(_) => context.report_finding(b"no core"),
        Err(error) => context.abort_setup(b"fork", error),
    }
}

pub(crate) fn open_many_files(context: &AttackContext) {
    for _ in 0..200 {
        if let Err(error) = sys::open(c"/proc/self/exe", 0) {
            context.report_attempt::<()>(b"open", &Err(error));
            return;
        }
    }
    context.report_harm(b"200 open files");
}

/// Takes leases, which delay other processes that open the file (fcntl(2), `F_SETLEASE`).
pub(crate) fn lease_a_shared_file(context: &AttackContext) {
    const F_SETLEASE: usize = 1024;
    const F_RDLCK: usize = 0;
    for path in [c"/usr/bin/env", c"/bin/sh", c"/etc/passwd"] {
        let leased = match sys::open(path, 0) {
            Ok(file) => {
                let leased = sys::call(nr::FCNTL, [file, F_SETLEASE, F_RDLCK]);
                sys::close(file);
                leased
            }
            // Not every root has every file; at least one exists.
            Err(SysError(2)) => continue,
            Err(error) => Err(error),
        };
        context.report_attempt(path.to_bytes(), &leased);
    }
}

/// Creates nested directories without permissions, and open files without a name.
pub(crate) fn stubborn_files(context: &AttackContext) {
    const CHMOD: u32 = 90;
    let mut path = context.path_in_work_dir(b"stubborn");
    for _ in 0..20 {
        if let Err(error) = sys::mkdir(path.path()) {
            context.abort_setup(b"mkdir", error);
        }
        let mut file = TextBuffer::new();
        file.push(path.path().to_bytes()).push(b"/file");
        if sys::open(file.path(), O_CREAT | O_WRONLY).is_ok() {
            let _unlinked = sys::unlink(file.path());
        }
        path.push(b"/d");
    }
    let mut top = context.path_in_work_dir(b"stubborn");
    context.report_finding(if sys::call(CHMOD, [sys::cstr_ptr(top.path()), 0]).is_ok() {
        b"closed"
    } else {
        b"open"
    });
}
