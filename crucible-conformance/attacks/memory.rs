//! Attacks by memory, in every form that a program can hold: three times the limit of the suite, in
//! pieces.

use super::children;
use super::context::AttackContext;
use super::nr;
use super::sys::{self, MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, NO_FD, O_CREAT, O_RDWR};

const PIECE: usize = 4 * 1024 * 1024;
const PIECES: usize = 48;

fn hold(context: &AttackContext, flags: usize) -> sys::Result<()> {
    for _ in 0..PIECES {
        let start = sys::map(PIECE, flags | MAP_ANONYMOUS, NO_FD)?;
        sys::touch(start, PIECE);
    }
    context.report_harm(b"192 MiB");
    Ok(())
}

fn report_failure(context: &AttackContext, result: &sys::Result<()>) {
    if result.is_err() {
        context.report_attempt(b"hold", result);
    }
}

pub(crate) fn touch(context: &AttackContext) {
    report_failure(context, &hold(context, MAP_PRIVATE));
}

/// Holds memory in a child. The parent survives and would exit with 0.
pub(crate) fn touch_in_a_child(context: &AttackContext) {
    match children::start(|| report_failure(context, &hold(context, MAP_PRIVATE))) {
        Ok(pid) => {
            let _reaped = sys::wait(pid, 0);
        }
        Err(error) => context.abort_setup(b"fork", error),
    }
}

pub(crate) fn touch_shared(context: &AttackContext) {
    report_failure(context, &hold(context, MAP_SHARED));
}

fn fill(context: &AttackContext, file: usize) {
    let piece = [7u8; 64 * 1024];
    for _ in 0..PIECES * PIECE / piece.len() {
        if let Err(error) = sys::write(file, &piece) {
            context.report_attempt::<()>(b"write", &Err(error));
            return;
        }
    }
    context.report_harm(b"192 MiB");
}

pub(crate) fn fill_tmpfs(context: &AttackContext) {
    match sys::open(context.path_in_work_dir(b"memory").path(), O_CREAT | O_RDWR) {
        Ok(file) => fill(context, file),
        Err(error) => context.abort_setup(b"open", error),
    }
    let _removed = sys::unlink(context.path_in_work_dir(b"memory").path());
}

pub(crate) fn fill_memfd(context: &AttackContext) {
    match sys::call(nr::MEMFD_CREATE, [sys::cstr_ptr(c"memory"), 0]) {
        Ok(file) => fill(context, file),
        Err(error) => context.abort_setup(b"memfd_create", error),
    }
}

pub(crate) fn fill_segment(context: &AttackContext) {
    const IPC_RMID: usize = 0;
    let segment = match sys::call(nr::SHMGET, [0, PIECES * PIECE, 0o600]) {
        Ok(segment) => segment,
        Err(error) => context.abort_setup(b"shmget", error),
    };
    let attached = sys::call(nr::SHMAT, [segment, 0, 0]);
    // The kernel removes the segment after the last process has detached it.
    let _removed = sys::call(nr::SHMCTL, [segment, IPC_RMID, 0]);
    match attached {
        Ok(start) => {
            sys::touch(start, PIECES * PIECE);
            context.report_harm(b"192 MiB");
            let _detached = sys::call(nr::SHMDT, [start]);
        }
        // The limit may be on the address space instead.
        Err(error) => context.report_attempt::<()>(b"shmat", &Err(error)),
    }
}

/// Touches memory and asks the kernel to write each piece to swap.
pub(crate) fn page_out(context: &AttackContext) {
    const MADV_PAGEOUT: usize = 21;
    for _ in 0..PIECES {
        match sys::map(PIECE, MAP_PRIVATE | MAP_ANONYMOUS, NO_FD) {
            Ok(start) => {
                sys::touch(start, PIECE);
                let _advised = sys::call(nr::MADVISE, [start, PIECE, MADV_PAGEOUT]);
            }
            Err(error) => {
                context.report_attempt::<()>(b"hold", &Err(error));
                return;
            }
        }
    }
    context.report_harm(b"192 MiB");
}
