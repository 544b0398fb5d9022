//! Disk space, files that are no files, and what is the system's.

use super::children;
use super::nr;
use super::report::Line;
use super::scene::Scene;
use super::sys::{self, Errno, O_CREAT, O_EXCL, O_RDWR, O_WRONLY, SIGABRT};

/// Four times the limit of the suite.
const SIZE: usize = 64 * 1024 * 1024;
/// Five times the limit of the suite.
const FILES: u64 = 5000;

fn fill(scene: &Scene, path: &core::ffi::CStr) {
    let file = match sys::open(path, O_CREAT | O_WRONLY) {
        Ok(file) => file,
        Err(error) => scene.broken(b"open", error),
    };
    let piece = [7u8; 64 * 1024];
    for _ in 0..SIZE / piece.len() {
        if let Err(error) = sys::write(file, &piece) {
            scene.tried::<()>(b"write", &Err(error));
            return;
        }
    }
    scene.harm(b"64 MiB");
}

pub(crate) fn fill_tmp(scene: &Scene) {
    fill(scene, scene.in_place(b"full").path());
}

/// The working directory, where results are looked for.
pub(crate) fn fill_box(scene: &Scene) {
    fill(scene, c"full");
}

pub(crate) fn reserve(scene: &Scene) {
    let reserved = sys::open(scene.in_place(b"reserved").path(), O_CREAT | O_WRONLY)
        .and_then(|file| sys::call(nr::FALLOCATE, [file, 0, 0, SIZE]));
    match reserved {
        Ok(_) => scene.harm(b"64 MiB"),
        Err(error) => {
            scene.tried::<()>(b"fallocate", &Err(error));
            // fallocate(2) leaves nothing behind where it fails; what is written bit by bit does.
            fill(scene, scene.in_place(b"full").path());
        }
    }
}

pub(crate) fn sparse_then_touch(scene: &Scene) {
    const SEEK: usize = 1 << 20;
    let file = match sys::open(scene.in_place(b"sparse").path(), O_CREAT | O_RDWR) {
        Ok(file) => file,
        Err(error) => scene.broken(b"open", error),
    };
    if let Err(error) = sys::call(nr::FTRUNCATE, [file, SIZE * SEEK]) {
        scene.tried::<()>(b"ftruncate", &Err(error));
    }
    fill(scene, scene.in_place(b"sparse").path());
}

fn many(scene: &Scene, make: impl Fn(&core::ffi::CStr) -> sys::Result<usize>) {
    for number in 0..FILES {
        let mut path = scene.in_place(b"many-");
        if let Err(error) = make(path.number(number).path()) {
            scene.tried::<()>(b"make", &Err(error));
            return;
        }
    }
    scene.harm(b"5000 inodes");
}

pub(crate) fn many_files(scene: &Scene) {
    many(scene, |path| sys::open(path, O_CREAT | O_EXCL | O_WRONLY).inspect(|file| sys::close(*file)));
}

/// Each in the one before.
pub(crate) fn many_directories(scene: &Scene) {
    if let Err(error) = sys::chdir(scene.place) {
        scene.broken(b"chdir", error);
    }
    for _ in 0..FILES {
        if let Err(error) = sys::mkdir(c"d").and_then(|_| sys::chdir(c"d")) {
            scene.tried::<()>(b"make", &Err(error));
            return;
        }
    }
    scene.harm(b"5000 directories");
}

pub(crate) fn many_links(scene: &Scene) {
    many(scene, |path| sys::symlink(c"/a/target/that/is/long/enough/to/need/memory/of/its/own/in/the/kernel/for/each", path));
}

/// Opened for writing, and not written to: that would be the harm.
pub(crate) fn write_to_the_system(scene: &Scene) {
    for path in [c"/etc/passwd", c"/usr/bin/env", c"/etc/group"] {
        scene.tried(path.to_bytes(), &sys::open(path, O_WRONLY));
    }
    for directory in [b"/usr/bin".as_slice(), b"/etc", b"/", b"/dev"] {
        let mut path = Line::new();
        path.push(directory).push(b"/").push(scene.mark.to_bytes());
        let made = sys::open(path.path(), O_CREAT | O_EXCL | O_WRONLY);
        if made.is_ok() {
            let _removed = sys::unlink(path.path());
        }
        scene.tried(directory, &made);
    }
}

pub(crate) fn make_devices(scene: &Scene) {
    const CHARACTER: usize = 0o020_600;
    const BLOCK: usize = 0o060_600;
    // `/dev/mem`, the first disk.
    for (name, mode, device) in [(b"mem".as_slice(), CHARACTER, 1 << 8 | 1), (b"disk", BLOCK, 254 << 8)] {
        let mut path = scene.in_place(name);
        let made = sys::call(nr::MKNOD, [sys::at(path.path()), mode, device]);
        scene.tried(name, &made);
        let _removed = sys::unlink(path.path());
    }
}

/// A child that aborts, with as large a limit as may be had.
pub(crate) fn dump_core(scene: &Scene) {
    const RLIMIT_CORE: usize = 4;
    const CORE_DUMPED: u32 = 0x80;
    if let Err(error) = sys::chdir(scene.place) {
        scene.broken(b"chdir", error);
    }
    let started = children::start(|| {
        for limit in [u64::MAX, 1 << 30, 1 << 20] {
            let limits = [limit, limit];
            let _set = sys::call(nr::SETRLIMIT, [RLIMIT_CORE, sys::of(&limits)]);
            let _set = sys::call(nr::PRLIMIT64, [0, RLIMIT_CORE, sys::of(&limits), 0]);
        }
        let _sent = sys::kill(sys::getpid(), SIGABRT);
    });
    match started.and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) if status & CORE_DUMPED != 0 => scene.harm(b"a core was dumped"),
        Ok(_) => scene.found(b"no core"),
        Err(error) => scene.broken(b"fork", error),
    }
}

pub(crate) fn open_many_files(scene: &Scene) {
    for _ in 0..200 {
        if let Err(error) = sys::open(c"/proc/self/exe", 0) {
            scene.tried::<()>(b"open", &Err(error));
            return;
        }
    }
    scene.harm(b"200 open files");
}

/// A lease would hold up whoever opens the file (fcntl(2), `F_SETLEASE`).
pub(crate) fn lease_a_shared_file(scene: &Scene) {
    const F_SETLEASE: usize = 1024;
    const F_RDLCK: usize = 0;
    for path in [c"/usr/bin/env", c"/bin/sh", c"/etc/passwd"] {
        let leased = match sys::open(path, 0) {
            Ok(file) => {
                let leased = sys::call(nr::FCNTL, [file, F_SETLEASE, F_RDLCK]);
                sys::close(file);
                leased
            }
            // Not every root has it; one of them there must be.
            Err(Errno(2)) => continue,
            Err(error) => Err(error),
        };
        scene.tried(path.to_bytes(), &leased);
    }
}

/// Directories that nobody may enter, and a file that has no name any more and is still open.
pub(crate) fn stubborn_files(scene: &Scene) {
    const CHMOD: u32 = 90;
    let mut path = scene.in_place(b"stubborn");
    for _ in 0..20 {
        if let Err(error) = sys::mkdir(path.path()) {
            scene.broken(b"mkdir", error);
        }
        let mut file = Line::new();
        file.push(path.path().to_bytes()).push(b"/file");
        if sys::open(file.path(), O_CREAT | O_WRONLY).is_ok() {
            let _unlinked = sys::unlink(file.path());
        }
        path.push(b"/d");
    }
    let mut top = scene.in_place(b"stubborn");
    scene.found(if sys::call(CHMOD, [sys::at(top.path()), 0]).is_ok() { b"closed" } else { b"open" });
}
