//! Processes that are too many, outlive their end, cannot be ended, or end others.

use std::time::Duration;

use crucible_core::{Layer, Limit};

use crate::attack::definition::{Attack, ControlMethod};

const PIDS: &[Layer] = &[Layer::PidsCgroup];
const PID_NAMESPACE: &[Layer] = &[Layer::PidNamespace];
const BOUNDED: &str = "there are never more than the limit, and the verdict is `processes`";
const NOTHING_LEFT: &str = "nothing of it lives when the outcome is there";
/// As short as can be told from a machine that is busy.
const WALL: Duration = Duration::from_millis(600);

fn bomb(does: &'static str) -> Attack {
    Attack::new("A1", does, BOUNDED).stopped_by(PIDS).ends_at(Limit::Processes)
}

/// Ended at the wall limit; a plain process is sent `SIGTERM` then, and goes on.
fn unkillable(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, "it is ended at the wall limit, and nothing of it lives on")
        .stopped_by(PID_NAMESPACE)
        .ends_at(Limit::Wall)
        .with_limits(|limits| limits.with_wall(WALL))
        .with_control(ControlMethod::UnsandboxedWithTimeout("", WALL))
}

pub(in crate::attack) fn fork_bomb() -> Attack {
    bomb("starts 200 processes by fork(2)")
}

pub(in crate::attack) fn vfork_bomb() -> Attack {
    bomb("starts 200 orphans by vfork(2) and fork(2)")
        .with_control(ControlMethod::UnsandboxedWithTimeout("", Duration::from_millis(800)))
}

pub(in crate::attack) fn thread_bomb() -> Attack {
    bomb("starts 200 threads")
}

pub(in crate::attack) fn exec_bomb() -> Attack {
    bomb("starts 200 processes, each of which executes another program")
}

pub(in crate::attack) fn zombie_flood() -> Attack {
    Attack::new("A6", "starts 200 processes that end at once, and waits for none", BOUNDED)
        .stopped_by(PIDS)
        .ends_at(Limit::Processes)
}

pub(in crate::attack) fn subreaper_flood() -> Attack {
    Attack::new("A6", "makes itself the reaper of 200 orphans, and reaps none", BOUNDED)
        .stopped_by(PIDS)
        .ends_at(Limit::Processes)
}

pub(in crate::attack) fn daemon_after_the_end() -> Attack {
    Attack::new(
        "A2",
        "leaves a daemon behind: two forks, a session of its own, deaf to signals",
        NOTHING_LEFT,
    )
    .stopped_by(PID_NAMESPACE)
    .ends_normally()
}

pub(in crate::attack) fn holder_of_stdout() -> Attack {
    Attack::new("A3", "leaves a child behind that holds standard output open", NOTHING_LEFT)
        .stopped_by(PID_NAMESPACE)
        .ends_normally()
        .with_control(ControlMethod::UnsandboxedWithTimeout("", WALL))
}

pub(in crate::attack) fn deaf_to_signals() -> Attack {
    unkillable("A4", "ignores and blocks every signal that can be, and goes on")
}

pub(in crate::attack) fn stopped_for_ever() -> Attack {
    unkillable("A4", "ignores every signal that can be, and stops itself")
}

pub(in crate::attack) fn stuck_in_vfork() -> Attack {
    unkillable(
        "A9",
        "is in an uninterruptible sleep, waiting for a child of vfork(2) that does not end",
    )
}

pub(in crate::attack) fn new_session() -> Attack {
    unkillable("A8", "hides a deaf child in a session of its own, and goes on")
}

pub(in crate::attack) fn stop_the_supervisor() -> Attack {
    Attack::new("A4", "stops the process above it", "the supervisor goes on")
        .stopped_by(PID_NAMESPACE)
        .ends_normally()
        .with_scratch_control("s")
}

pub(in crate::attack) fn kill_the_supervisor() -> Attack {
    Attack::new("A5", "kills the process above it", "the supervisor lives, and so does the verdict")
        .stopped_by(&[Layer::PidNamespace, Layer::DedicatedUser])
        .ends_normally()
        .with_scratch_control("s")
}

pub(in crate::attack) fn kill_everything() -> Attack {
    Attack::new("A5", "kills every process that it may", "nobody outside is hit")
        .stopped_by(PID_NAMESPACE)
        .ends_normally()
        .with_scratch_control("mp")
}

pub(in crate::attack) fn kill_a_host_process() -> Attack {
    Attack::new(
        "A5",
        "kills a process of the host by its number, and by a descriptor for it",
        "it lives on",
    )
    .stopped_by(PID_NAMESPACE)
    // `ENOSYS`: some kernels know no descriptors of processes.
    .refused_with(&[1, 3, 38])
}

pub(in crate::attack) fn signal_the_group() -> Attack {
    Attack::new(
        "A5",
        "signals the process group that it was started in",
        "the supervisor is not in it",
    )
    .stopped_by(PID_NAMESPACE)
    .ends_normally()
    .with_scratch_control("s")
}

pub(in crate::attack) fn churn_of_processes() -> Attack {
    Attack::new(
        "A7",
        "starts and ends 1000 processes, and kills each once more when it is gone",
        "nobody is hit who has its number now",
    )
    .stopped_by(PID_NAMESPACE)
    .ends_normally()
    .with_control(ControlMethod::NotShown("numbers come round after millions of processes"))
}
