//! Attacks by processes: too many of them, survivors, unkillable ones, and signals to others.

use super::children::{self, MANY};
use super::context::AttackContext;
use super::nr;
use super::sys::{self, SIGKILL, SIGSTOP, SIGTERM};

/// Starts processes until the kernel refuses. A success for all of them is harm.
fn bomb(context: &AttackContext, start: impl Fn() -> sys::Result<i32>) {
    for _ in 0..MANY {
        if let Err(error) = start() {
            context.report_attempt::<()>(b"start", &Err(error));
            // The engine observes the limit while the processes still run.
            sys::sleep_ms(50);
            return;
        }
    }
    context.report_harm(b"200 processes at the same time");
}

pub(crate) fn fork_bomb(context: &AttackContext) {
    bomb(context, || children::start(children::linger));
}

extern "C" fn start_orphan() -> ! {
    // The caller of vfork(2) waits for this process, not for its child.
    let _orphan = children::start(children::linger);
    sys::exit(0)
}

pub(crate) fn vfork_bomb(context: &AttackContext) {
    bomb(context, || children::start_vfork(start_orphan));
    // A refused orphan is not visible here, so that this counts the processes that live.
    let alive =
        (2..4 * MANY).filter(|pid| sys::kill(i32::try_from(*pid).unwrap_or_default(), 0).is_ok());
    context.report_finding(if alive.count() > MANY {
        b"orphans: too many"
    } else {
        b"orphans: some"
    });
}

pub(crate) fn thread_bomb(context: &AttackContext) {
    bomb(context, || children::start_thread(children::linger_and_exit));
}

pub(crate) fn exec_bomb(context: &AttackContext) {
    bomb(context, || {
        children::start(|| {
            // The mark in the command line identifies the process if it survives.
            let arguments =
                [c"attacks".as_ptr(), c"linger".as_ptr(), context.mark.as_ptr(), core::ptr::null()];
            let _failed = sys::execute(c"/proc/self/exe", &arguments);
            children::linger();
        })
    });
}

pub(crate) fn zombie_flood(context: &AttackContext) {
    bomb(context, || children::start(|| {}));
}

pub(crate) fn subreaper_flood(context: &AttackContext) {
    const PR_SET_CHILD_SUBREAPER: usize = 36;
    if let Err(error) = sys::call(nr::PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0]) {
        context.abort_setup(b"prctl", error);
    }
    bomb(context, || {
        let parent = children::start(|| {
            let orphan = children::start(|| {});
            sys::exit(usize::from(orphan.is_err()));
        })?;
        // The parent is reaped. Its child, now a child of this process, is not.
        match sys::wait(parent, 0)? {
            (_, 0) => Ok(parent),
            // `EAGAIN`
            _ => Err(sys::SysError(11)),
        }
    });
}

pub(crate) fn daemon_after_the_end(context: &AttackContext) {
    let started = children::start(|| {
        let _session = sys::call(nr::SETSID, []);
        let _daemon = children::start(|| {
            children::ignore_all_signals();
            for fd in 0..3 {
                sys::close(fd);
            }
            children::linger();
        });
    });
    match started {
        Ok(pid) => {
            let _reaped = sys::wait(pid, 0);
        }
        Err(error) => context.abort_setup(b"fork", error),
    }
}

pub(crate) fn holder_of_stdout(context: &AttackContext) {
    if let Err(error) = children::start(children::linger) {
        context.abort_setup(b"fork", error);
    }
}

pub(crate) fn ignore_every_signal(context: &AttackContext) {
    children::ignore_all_signals();
    context.report_finding(b"all signals ignored");
    children::linger();
}

pub(crate) fn stopped_for_ever(context: &AttackContext) {
    children::ignore_all_signals();
    // If something continues this process, it ends by itself.
    context.report_attempt(b"stop", &sys::kill(sys::getpid(), SIGSTOP));
    children::linger();
}

extern "C" fn signal_ignoring_child() -> ! {
    children::ignore_all_signals();
    children::linger();
    sys::exit(0)
}

pub(crate) fn stuck_in_vfork(context: &AttackContext) {
    context.report_finding(b"in an uninterruptible sleep");
    if let Err(error) = children::start_vfork(signal_ignoring_child) {
        context.abort_setup(b"vfork", error);
    }
}

pub(crate) fn new_session(context: &AttackContext) {
    let started = children::start(|| {
        let _session = sys::call(nr::SETSID, []);
        children::ignore_all_signals();
        children::linger();
    });
    match started {
        Ok(_) => sys::sleep_ms(60_000),
        Err(error) => context.abort_setup(b"fork", error),
    }
}

/// Returns the state of a process from `/proc`, or `None` if the process is invisible.
fn state_of(pid: i32) -> Option<u8> {
    let mut path = super::report::TextBuffer::new();
    path.push(b"/proc/").number(u64::from(pid.unsigned_abs())).push(b"/stat");
    let file = sys::open(path.path(), 0).ok()?;
    let mut text = [0; 512];
    let count = sys::read(file, &mut text).ok()?;
    sys::close(file);
    let text = text.get(..count)?;
    let name_ends = text.iter().rposition(|byte| *byte == b')')?;
    text.get(name_ends + 2).copied()
}

pub(crate) fn stop_the_supervisor(context: &AttackContext) {
    let parent = sys::getppid();
    context.report_finding(if sys::kill(parent, SIGSTOP).is_ok() { b"sent" } else { b"refused" });
    sys::sleep_ms(100);
    if state_of(parent) == Some(b'T') {
        context.report_harm(b"the supervisor is stopped");
        // Continues the supervisor of a control.
        let _continued = sys::kill(parent, 18);
    }
}

pub(crate) fn kill_the_supervisor(context: &AttackContext) {
    let parent = sys::getppid();
    for signal in [SIGTERM, sys::SIGABRT, SIGKILL] {
        let _sent = sys::kill(parent, signal);
    }
    sys::sleep_ms(100);
    if sys::getppid() != parent {
        context.report_harm(b"the supervisor is gone");
    }
}

pub(crate) fn kill_everything(context: &AttackContext) {
    let result = sys::kill(-1, SIGKILL);
    context.report_finding(if result.is_ok() { b"sent" } else { b"no process" });
    sys::sleep_ms(50);
}

pub(crate) fn kill_a_host_process(context: &AttackContext) {
    context.report_attempt(b"kill", &sys::kill(context.pid, SIGKILL));
    let by_descriptor = sys::call(nr::PIDFD_OPEN, [sys::signed(context.pid), 0])
        .and_then(|pidfd| sys::call(nr::PIDFD_SEND_SIGNAL, [pidfd, SIGKILL, 0, 0]));
    context.report_attempt(b"pidfd", &by_descriptor);
}

pub(crate) fn signal_the_group(context: &AttackContext) {
    children::ignore_all_signals();
    let parent = sys::getppid();
    let _sent = sys::kill(0, SIGTERM);
    sys::sleep_ms(100);
    if sys::getppid() != parent {
        context.report_harm(b"the supervisor was in the group");
    }
}

/// Starts and ends processes and signals each number after its process is gone.
pub(crate) fn churn_of_processes(context: &AttackContext) {
    for _ in 0..1000 {
        match children::start(|| {}) {
            Ok(pid) => {
                let _reaped = sys::wait(pid, 0);
                // The process is gone: the signal reaches no process, or a new one with this
                // number.
                let _sent = sys::kill(pid, SIGKILL);
            }
            Err(error) => context.abort_setup(b"fork", error),
        }
    }
    context.report_finding(b"1000 processes started and ended");
}
