//! Attacks on a judge that goes by exit codes and output text.

use crucible_core::Signal;

use crate::attack::definition::{Attack, ControlMethod};

fn spoof(action: &'static str, expectation: &'static str) -> Attack {
    Attack::new("K1", action, expectation).with_control(ControlMethod::NaiveJudge)
}

pub(in crate::attack) fn exit_like_a_timeout() -> Attack {
    spoof("exits with 124, as timeout(1) does", "the verdict is `exited 124`").exits_with(124)
}

pub(in crate::attack) fn exit_like_a_kill() -> Attack {
    spoof("writes `Killed` and exits with 137", "the verdict is `exited 137`").exits_with(137)
}

pub(in crate::attack) fn kill_itself() -> Attack {
    spoof(
        "reports exhausted memory in its output, and kills itself",
        "the verdict is `signaled SIGKILL`",
    )
    .killed_by(Signal::KILL)
}

pub(in crate::attack) fn forged_report() -> Attack {
    spoof(
        "writes lines that imitate a supervisor's report of success, and exits with 3",
        "the verdict is `exited 3`",
    )
    .exits_with(3)
}

pub(in crate::attack) fn closed_streams() -> Attack {
    Attack::new(
        "K3",
        "closes its streams, continues, and exits with 7",
        "the verdict is `exited 7`",
    )
    .exits_with(7)
    .with_control(ControlMethod::NotShown(
        "the attack aims at the verdict only, and a plain process has none",
    ))
}

pub(in crate::attack) fn deep_recursion() -> Attack {
    Attack::new("B6", "overflows its stack", "the verdict is `signaled SIGSEGV`, not `memory`")
        .killed_by(Signal::SEGV)
        .with_control(ControlMethod::NotShown(
            "the attack aims at the verdict only, and a plain process has none",
        ))
}
