//! What deceives those who judge by exit codes and by text.

use crucible_core::Signal;

use crate::attack::entry::{Attack, Control};

fn lie(does: &'static str, holds: &'static str) -> Attack {
    Attack::new("K1", does, holds).shown_by(Control::Judge)
}

pub(in crate::attack) fn exit_like_a_timeout() -> Attack {
    lie("exits with 124, as timeout(1) does", "the verdict is `exited 124`").exits(124)
}

pub(in crate::attack) fn exit_like_a_kill() -> Attack {
    lie("writes `Killed` and exits with 137", "the verdict is `exited 137`").exits(137)
}

pub(in crate::attack) fn kill_itself() -> Attack {
    lie("says that it ran out of memory, and kills itself", "the verdict is `signaled SIGKILL`")
        .ended_by(Signal::KILL)
}

pub(in crate::attack) fn forged_report() -> Attack {
    lie(
        "writes what supervisors write of programs that succeed, and exits with 3",
        "the verdict is `exited 3`",
    )
    .exits(3)
}

pub(in crate::attack) fn closed_streams() -> Attack {
    Attack::new("K3", "closes its streams, goes on, and exits with 7", "the verdict is `exited 7`")
        .exits(7)
        .shown_by(Control::NotShown(
            "what is at stake is the verdict alone: nothing is left to see of it",
        ))
}

pub(in crate::attack) fn deep_recursion() -> Attack {
    Attack::new("B6", "overflows its stack", "the verdict is `signaled SIGSEGV`, not `memory`")
        .ended_by(Signal::SEGV)
        .shown_by(Control::NotShown(
            "what is at stake is the verdict alone: nothing is left to see of it",
        ))
}
