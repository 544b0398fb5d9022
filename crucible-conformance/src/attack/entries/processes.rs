//! Attacks by processes: too many of them, survivors, unkillable ones, and signals to others.

use std::time::Duration;

use crucible_core::{Layer, Limit};

use crate::attack::definition::{Attack, ControlMethod};

const PIDS: &[Layer] = &[Layer::PidsCgroup];
const PID_NAMESPACE: &[Layer] = &[Layer::PidNamespace];
const BOUNDED: &str =
    "the number of processes never exceeds the limit, and the verdict is `processes`";
const NO_SURVIVORS: &str = "when the engine returns the outcome, no process of it is alive";
/// The shortest wall limit that a busy machine still meets.
const WALL: Duration = Duration::from_millis(600);

fn bomb(action: &'static str) -> Attack {
    Attack::new("A1", action, BOUNDED).stopped_by(PIDS).ends_at(Limit::Processes)
}

/// Creates an attack that only the wall limit ends. A plain process gets `SIGTERM` instead and
/// continues.
fn unkillable(catalogue: &'static str, action: &'static str) -> Attack {
    Attack::new(
        catalogue,
        action,
        "the engine ends it at the wall limit, and no process of it survives",
    )
    .stopped_by(PID_NAMESPACE)
    .ends_at(Limit::Wall)
    .with_limits(|limits| limits.with_wall(WALL))
    .with_control(ControlMethod::UnsandboxedWithTimeout("", WALL))
}

pub(in crate::attack) fn fork_bomb() -> Attack {
    bomb("starts 200 processes by fork(2)")
}

pub(in crate::attack) fn vfork_bomb() -> Attack {
    bomb("starts 200 orphaned processes by vfork(2) and fork(2)")
        .with_control(ControlMethod::UnsandboxedWithTimeout("", Duration::from_millis(800)))
}

pub(in crate::attack) fn thread_bomb() -> Attack {
    bomb("starts 200 threads")
}

pub(in crate::attack) fn exec_bomb() -> Attack {
    bomb("starts 200 processes that execute another program")
}

pub(in crate::attack) fn zombie_flood() -> Attack {
    Attack::new("A6", "starts 200 processes that exit at once, and reaps none of them", BOUNDED)
        .stopped_by(PIDS)
        .ends_at(Limit::Processes)
}

pub(in crate::attack) fn subreaper_flood() -> Attack {
    Attack::new(
        "A6",
        "becomes the subreaper of 200 orphaned processes, and reaps none of them",
        BOUNDED,
    )
    .stopped_by(PIDS)
    .ends_at(Limit::Processes)
}

pub(in crate::attack) fn daemon_after_the_end() -> Attack {
    Attack::new(
        "A2",
        "leaves a daemon with two forks and its own session that ignores signals",
        NO_SURVIVORS,
    )
    .stopped_by(PID_NAMESPACE)
    .ends_normally()
}

pub(in crate::attack) fn holder_of_stdout() -> Attack {
    Attack::new("A3", "leaves a child that holds standard output open", NO_SURVIVORS)
        .stopped_by(PID_NAMESPACE)
        .ends_normally()
        .with_control(ControlMethod::UnsandboxedWithTimeout("", WALL))
}

pub(in crate::attack) fn ignore_every_signal() -> Attack {
    unkillable("A4", "ignores and blocks every possible signal, and continues")
}

pub(in crate::attack) fn stopped_for_ever() -> Attack {
    unkillable("A4", "ignores every possible signal, and stops itself")
}

pub(in crate::attack) fn stuck_in_vfork() -> Attack {
    unkillable("A9", "sleeps uninterruptibly, waiting for a child of vfork(2) that does not exit")
}

pub(in crate::attack) fn new_session() -> Attack {
    unkillable("A8", "starts a child with its own session that ignores signals, and continues")
}

pub(in crate::attack) fn stop_the_supervisor() -> Attack {
    Attack::new("A4", "stops its parent process", "the supervisor continues")
        .stopped_by(PID_NAMESPACE)
        .ends_normally()
        .with_scratch_control("s")
}

pub(in crate::attack) fn kill_the_supervisor() -> Attack {
    Attack::new("A5", "kills its parent process", "the supervisor survives and reports the verdict")
        .stopped_by(&[Layer::PidNamespace, Layer::DedicatedUser])
        .ends_normally()
        .with_scratch_control("s")
}

pub(in crate::attack) fn kill_everything() -> Attack {
    Attack::new(
        "A5",
        "kills every process that it can signal",
        "no process outside the sandbox gets a signal",
    )
    .stopped_by(PID_NAMESPACE)
    .ends_normally()
    .with_scratch_control("mp")
}

pub(in crate::attack) fn kill_a_host_process() -> Attack {
    Attack::new(
        "A5",
        "kills a host process by its number, and by a pidfd",
        "the host process survives",
    )
    .stopped_by(PID_NAMESPACE)
    // `ENOSYS`: some kernels have no pidfds.
    .refused_with(&[1, 3, 38])
}

pub(in crate::attack) fn signal_the_group() -> Attack {
    Attack::new("A5", "signals its process group", "the supervisor is not in the group")
        .stopped_by(PID_NAMESPACE)
        .ends_normally()
        .with_scratch_control("s")
}

pub(in crate::attack) fn churn_of_processes() -> Attack {
    Attack::new(
        "A7",
        "starts and ends 1000 processes, and signals the number of each after its end",
        "no new process with the same number gets the signal",
    )
    .stopped_by(PID_NAMESPACE)
    .ends_normally()
    .with_control(ControlMethod::NotShown(
        "process numbers repeat only after millions of processes",
    ))
}
