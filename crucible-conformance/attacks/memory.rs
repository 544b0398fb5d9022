//! Memory, by every way in which a program can hold it. Three times the limit of the suite, a piece at a time.

use super::children;
use super::nr;
use super::scene::Scene;
use super::sys::{self, MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, NO_FD, O_CREAT, O_RDWR};

const PIECE: usize = 4 * 1024 * 1024;
const PIECES: usize = 48;

fn hold(scene: &Scene, flags: usize) -> sys::Result<()> {
    for _ in 0..PIECES {
        let start = sys::map(PIECE, flags | MAP_ANONYMOUS, NO_FD)?;
        sys::touch(start, PIECE);
    }
    scene.harm(b"192 MiB");
    Ok(())
}

fn say(scene: &Scene, result: &sys::Result<()>) {
    if result.is_err() {
        scene.tried(b"hold", result);
    }
}

pub(crate) fn touch(scene: &Scene) {
    say(scene, &hold(scene, MAP_PRIVATE));
}

/// The parent lives on, and would end with 0.
pub(crate) fn touch_in_a_child(scene: &Scene) {
    match children::start(|| say(scene, &hold(scene, MAP_PRIVATE))) {
        Ok(pid) => {
            let _reaped = sys::wait(pid, 0);
        }
        Err(error) => scene.broken(b"fork", error),
    }
}

pub(crate) fn touch_shared(scene: &Scene) {
    say(scene, &hold(scene, MAP_SHARED));
}

fn fill(scene: &Scene, file: usize) {
    let piece = [7u8; 64 * 1024];
    for _ in 0..PIECES * PIECE / piece.len() {
        if let Err(error) = sys::write(file, &piece) {
            scene.tried::<()>(b"write", &Err(error));
            return;
        }
    }
    scene.harm(b"192 MiB");
}

pub(crate) fn fill_tmpfs(scene: &Scene) {
    match sys::open(scene.in_place(b"memory").path(), O_CREAT | O_RDWR) {
        Ok(file) => fill(scene, file),
        Err(error) => scene.broken(b"open", error),
    }
    let _removed = sys::unlink(scene.in_place(b"memory").path());
}

pub(crate) fn fill_memfd(scene: &Scene) {
    match sys::call(nr::MEMFD_CREATE, [sys::at(c"memory"), 0]) {
        Ok(file) => fill(scene, file),
        Err(error) => scene.broken(b"memfd_create", error),
    }
}

pub(crate) fn fill_segment(scene: &Scene) {
    const IPC_RMID: usize = 0;
    let segment = match sys::call(nr::SHMGET, [0, PIECES * PIECE, 0o600]) {
        Ok(segment) => segment,
        Err(error) => scene.broken(b"shmget", error),
    };
    let attached = sys::call(nr::SHMAT, [segment, 0, 0]);
    // It goes when the last who has attached it goes.
    let _removed = sys::call(nr::SHMCTL, [segment, IPC_RMID, 0]);
    match attached {
        Ok(start) => {
            sys::touch(start, PIECES * PIECE);
            scene.harm(b"192 MiB");
            let _detached = sys::call(nr::SHMDT, [start]);
        }
        // Its address space may be limited instead.
        Err(error) => scene.tried::<()>(b"shmat", &Err(error)),
    }
}

/// Asks the kernel to write each piece to swap.
pub(crate) fn page_out(scene: &Scene) {
    const MADV_PAGEOUT: usize = 21;
    for _ in 0..PIECES {
        match sys::map(PIECE, MAP_PRIVATE | MAP_ANONYMOUS, NO_FD) {
            Ok(start) => {
                sys::touch(start, PIECE);
                let _advised = sys::call(nr::MADVISE, [start, PIECE, MADV_PAGEOUT]);
            }
            Err(error) => {
                scene.tried::<()>(b"hold", &Err(error));
                return;
            }
        }
    }
    scene.harm(b"192 MiB");
}
