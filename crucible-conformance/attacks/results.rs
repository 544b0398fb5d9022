//! What is put where results are looked for: links to what is not the program's, and files that are none.

use core::ffi::CStr;

use super::nr;
use super::report::Line;
use super::scene::{self, Scene};
use super::sys::{self, O_CREAT, O_WRONLY};

/// Where results are looked for, in the working directory.
const OUT: &CStr = c"out";

fn prepare(scene: &Scene) {
    if let Err(error) = sys::mkdir(OUT) {
        scene.broken(b"mkdir", error);
    }
}

fn placed(scene: &Scene, what: &[u8], result: &sys::Result<usize>) {
    if let Err(error) = result {
        // It may be forbidden to make such a thing in the first place.
        scene.tried::<()>(what, &Err(*error));
    } else {
        scene.found(what);
    }
}

pub(crate) fn absolute_link(scene: &Scene) {
    prepare(scene);
    placed(scene, b"a link", &sys::symlink(scene.file, c"out/result"));
}

pub(crate) fn relative_link(scene: &Scene) {
    prepare(scene);
    let mut target = Line::new();
    for _ in 0..20 {
        target.push(b"../");
    }
    placed(scene, b"a link", &sys::symlink(target.push(scene.file.to_bytes()).path(), c"out/result"));
}

pub(crate) fn chain_of_links(scene: &Scene) {
    prepare(scene);
    placed(scene, b"the last link", &sys::symlink(scene.file, c"out/3"));
    placed(scene, b"the second link", &sys::symlink(c"3", c"out/2"));
    placed(scene, b"the first link", &sys::symlink(c"2", c"out/result"));
}

/// The directory above the file, by a link, and the file by its name in it.
pub(crate) fn linked_directory(scene: &Scene) {
    prepare(scene);
    let path = scene.file.to_bytes();
    let parent = path.iter().rposition(|byte| *byte == b'/').and_then(|at| path.get(..at)).unwrap_or_default();
    placed(scene, b"a link", &sys::symlink(Line::new().push(parent).path(), c"out/results"));
}

pub(crate) fn hard_link(scene: &Scene) {
    prepare(scene);
    let linked = sys::call(nr::LINK, [sys::at(scene.file), sys::at(c"out/result")]);
    scene.tried(b"link", &linked);
}

pub(crate) fn fifo(scene: &Scene) {
    const FIFO: usize = 0o010_600;
    prepare(scene);
    placed(scene, b"a fifo", &sys::call(nr::MKNOD, [sys::at(c"out/result"), FIFO, 0]));
}

pub(crate) fn socket(scene: &Scene) {
    const SOCKET: usize = 0o140_600;
    prepare(scene);
    placed(scene, b"a socket", &sys::call(nr::MKNOD, [sys::at(c"out/result"), SOCKET, 0]));
}

/// What these lead to depends on who follows them.
pub(crate) fn magic_link(scene: &Scene) {
    prepare(scene);
    placed(scene, b"environ", &sys::symlink(c"/proc/self/environ", c"out/result"));
    let mut target = Line::new();
    target.push(b"/proc/self/root").push(scene.file.to_bytes());
    placed(scene, b"root", &sys::symlink(target.path(), c"out/root"));
}

pub(crate) fn sparse_file(scene: &Scene) {
    prepare(scene);
    let made = sys::open(c"out/result", O_CREAT | O_WRONLY)
        .and_then(|file| sys::call(nr::FTRUNCATE, [file, 1 << 40]));
    placed(scene, b"1 TiB of nothing", &made);
}

/// As many files as the limit on inodes lets there be, and the limit on results does not.
pub(crate) fn many_results(scene: &Scene) {
    prepare(scene);
    for number in 0..scene::number(scene.extra) {
        let mut path = Line::new();
        let made = sys::open(path.push(b"out/").number(number).path(), O_CREAT | O_WRONLY);
        match made {
            Ok(file) => sys::close(file),
            Err(error) => scene.broken(b"open", error),
        }
    }
    scene.found(b"many files");
}

/// A line feed, what is not UTF-8, a terminal's escape sequence, what looks like an option, what looks like a way up.
pub(crate) fn strange_names(scene: &Scene) {
    prepare(scene);
    for name in [
        c"out/a\nb", c"out/\xff\xfe", c"out/\x1b]0;owned\x07", c"out/-rf", c"out/..\\..\\x", c"out/...", c"out/ ",
    ] {
        placed(scene, b"a name", &sys::open(name, O_CREAT | O_WRONLY));
    }
}

pub(crate) fn deep_results(scene: &Scene) {
    prepare(scene);
    if let Err(error) = sys::chdir(OUT) {
        scene.broken(b"chdir", error);
    }
    for _ in 0..scene::number(scene.extra) {
        if let Err(error) = sys::mkdir(c"d").and_then(|_| sys::chdir(c"d")) {
            scene.broken(b"mkdir", error);
        }
    }
    placed(scene, b"a deep file", &sys::open(c"result", O_CREAT | O_WRONLY));
}
