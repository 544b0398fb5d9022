//! CPU time, clocks and priorities.

use std::time::Duration;

use crucible_core::{Deviation, Layer, Limit};

use crate::attack::definition::Attack;

const CPU: &[Layer] = &[Layer::CpuCgroup];

fn spinning(does: &'static str) -> Attack {
    Attack::new("B1", does, "it is ended at its CPU limit, and the verdict is `cpu`, not `wall`")
        .stopped_by(CPU)
        .ends_at(Limit::Cpu)
        .with_limits(|limits| limits.with_cpu(Duration::from_millis(400)))
}

/// These are the engine's own doing: there is no layer to give up.
fn idling(does: &'static str) -> Attack {
    Attack::new("B2", does, "it is ended at its wall limit, and the verdict is `wall`, not `cpu`")
        .ends_at(Limit::Wall)
        .with_limits(|limits| limits.with_wall(Duration::from_millis(800)))
}

pub(in crate::attack) fn spin() -> Attack {
    spinning("burns 1.2 s of CPU time")
}

pub(in crate::attack) fn spin_in_threads() -> Attack {
    spinning("burns 1.2 s of CPU time in four threads")
}

pub(in crate::attack) fn spin_in_children() -> Attack {
    spinning("burns 1.2 s of CPU time in children, none of which uses much")
}

pub(in crate::attack) fn sleep_for_ever() -> Attack {
    idling("sleeps for 2.5 s")
}

pub(in crate::attack) fn read_for_ever() -> Attack {
    idling("waits for 2.5 s at a pipe into which nobody writes")
}

pub(in crate::attack) fn set_the_clock() -> Attack {
    Attack::new("B7", "sets the clock, to the time that it is", "the clock cannot be set")
        .stopped_by(&[Layer::Seccomp, Layer::Capabilities, Layer::UserNamespace])
}

pub(in crate::attack) fn time_namespace() -> Attack {
    Attack::new("B7", "makes a time namespace, in which clocks show something else", "it cannot")
        .stopped_by(&[Layer::Seccomp, Layer::Capabilities])
}

pub(in crate::attack) fn raise_priority() -> Attack {
    Attack::new(
        "B8",
        "raises its priority, asks for real-time scheduling of CPU and disk",
        "it cannot",
    )
    .stopped_by(&[Layer::Rlimits, Layer::Capabilities])
    .not_applicable_where(
        Deviation::OwnKernel,
        "priorities are those of its own kernel: the threads of the host keep theirs",
    )
}
