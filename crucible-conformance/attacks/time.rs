//! Attacks on CPU time, clocks and priorities.

use super::children;
use super::context::AttackContext;
use super::nr;
use super::sys::{self, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};

/// Three times the CPU limit of the suite.
const BURNT_MS: u64 = 1200;

fn burn(clock: usize, milliseconds: u64) {
    let until = sys::now_ms(clock) + milliseconds;
    while sys::now_ms(clock) < until {
        for _ in 0..10_000 {
            core::hint::spin_loop();
        }
    }
}

pub(crate) fn spin(context: &AttackContext) {
    burn(CLOCK_PROCESS_CPUTIME_ID, BURNT_MS);
    context.report_harm(b"1.2 s of CPU time");
}

extern "C" fn spin_in_a_thread() -> ! {
    burn(CLOCK_THREAD_CPUTIME_ID, BURNT_MS / 4);
    loop {
        let _never = sys::call(nr::EXIT, [0]);
    }
}

pub(crate) fn spin_in_threads(context: &AttackContext) {
    for _ in 0..4 {
        if let Err(error) = children::start_thread(spin_in_a_thread) {
            context.abort_setup(b"clone", error);
        }
    }
    while sys::now_ms(CLOCK_PROCESS_CPUTIME_ID) < BURNT_MS - 10 {
        sys::sleep_ms(5);
    }
    context.report_harm(b"1.2 s of CPU time");
}

/// Burns CPU time in many children, each of which stays below a limit for single processes.
pub(crate) fn spin_in_children(context: &AttackContext) {
    for _ in 0..BURNT_MS / 100 {
        match children::start(|| burn(CLOCK_PROCESS_CPUTIME_ID, 100)) {
            Ok(pid) => {
                let _reaped = sys::wait(pid, 0);
            }
            Err(error) => context.abort_setup(b"fork", error),
        }
    }
    context.report_harm(b"1.2 s of CPU time");
}

pub(crate) fn sleep_for_ever(context: &AttackContext) {
    sys::sleep_ms(2500);
    context.report_harm(b"2.5 s asleep");
}

pub(crate) fn read_for_ever(context: &AttackContext) {
    match sys::pipe() {
        Ok((read, _)) => {
            let poll = [u64::try_from(read).unwrap_or_default() | 1 << 32];
            let _woken = sys::call(nr::POLL, [sys::ptr(&poll), 1, 2500]);
            context.report_harm(b"2.5 s at a pipe");
        }
        Err(error) => context.abort_setup(b"pipe", error),
    }
}

/// Sets the clock to the current time. A kernel that allows this allows any other time as well.
pub(crate) fn set_the_clock(context: &AttackContext) {
    let mut now = [0i64; 2];
    if let Err(error) = sys::call(nr::CLOCK_GETTIME, [0, sys::mut_ptr(&mut now)]) {
        context.abort_setup(b"clock_gettime", error);
    }
    context.report_attempt(b"clock_settime", &sys::call(nr::CLOCK_SETTIME, [0, sys::ptr(&now)]));
    let [seconds, nanoseconds] = now;
    let now = [seconds, nanoseconds / 1000];
    context.report_attempt(b"settimeofday", &sys::call(nr::SETTIMEOFDAY, [sys::ptr(&now), 0]));
    // `modes` is `ADJ_TICK`, and the tick is the default.
    let mut timex = [0u64; 26];
    if let Some(modes) = timex.first_mut() {
        *modes = 0x4000;
    }
    if let Some(tick) = timex.get_mut(11) {
        *tick = 10_000;
    }
    context.report_attempt(b"adjtimex", &sys::call(nr::ADJTIMEX, [sys::mut_ptr(&mut timex)]));
    context.report_attempt(
        b"clock_adjtime",
        &sys::call(nr::CLOCK_ADJTIME, [0, sys::mut_ptr(&mut timex)]),
    );
}

pub(crate) fn time_namespace(context: &AttackContext) {
    const CLONE_NEWTIME: usize = 0x80;
    context.report_attempt(b"unshare", &sys::call(nr::UNSHARE, [CLONE_NEWTIME]));
}

pub(crate) fn raise_priority(context: &AttackContext) {
    context.report_attempt(b"setpriority", &sys::call(nr::SETPRIORITY, [0, 0, sys::signed(-5)]));
    // `SCHED_FIFO` with its lowest priority.
    let priority = 1u32;
    context.report_attempt(
        b"sched_setscheduler",
        &sys::call(nr::SCHED_SETSCHEDULER, [0, 1, sys::ptr(&priority)]),
    );
    // `IOPRIO_CLASS_RT`
    context.report_attempt(b"ioprio_set", &sys::call(nr::IOPRIO_SET, [1, 0, 1 << 13]));
}
