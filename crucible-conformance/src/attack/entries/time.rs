//! Attacks on CPU time, clocks and priorities.

use std::time::Duration;

use crucible_core::{Deviation, Layer, Limit};

use crate::attack::definition::Attack;

const CPU: &[Layer] = &[Layer::CpuCgroup];

fn burn_cpu(action: &'static str) -> Attack {
    Attack::new("B1", action, "the engine ends it at its CPU limit, and the verdict is `cpu`")
        .stopped_by(CPU)
        .ends_at(Limit::Cpu)
        .with_limits(|limits| limits.with_cpu(Duration::from_millis(400)))
}

/// Creates an attack that waits. The engine itself enforces the wall limit, so that no layer can be
/// waived.
fn wait_idle(action: &'static str) -> Attack {
    Attack::new("B2", action, "the engine ends it at its wall limit, and the verdict is `wall`")
        .ends_at(Limit::Wall)
        .with_limits(|limits| limits.with_wall(Duration::from_millis(800)))
}

pub(in crate::attack) fn spin() -> Attack {
    burn_cpu("burns 1.2 s of CPU time")
}

pub(in crate::attack) fn spin_in_threads() -> Attack {
    burn_cpu("burns 1.2 s of CPU time in four threads")
}

pub(in crate::attack) fn spin_in_children() -> Attack {
    burn_cpu("burns 1.2 s of CPU time in many children that use little each")
}

pub(in crate::attack) fn sleep_for_ever() -> Attack {
    wait_idle("sleeps for 2.5 s")
}

pub(in crate::attack) fn read_for_ever() -> Attack {
    wait_idle("waits for 2.5 s at a pipe without a writer")
}

pub(in crate::attack) fn set_the_clock() -> Attack {
    Attack::new("B7", "sets the clock to the current time", "every call is refused").stopped_by(&[
        Layer::Seccomp,
        Layer::Capabilities,
        Layer::UserNamespace,
    ])
}

pub(in crate::attack) fn time_namespace() -> Attack {
    Attack::new("B7", "creates a time namespace, in which clocks differ", "the call is refused")
        .stopped_by(&[Layer::Seccomp, Layer::Capabilities])
}

pub(in crate::attack) fn raise_priority() -> Attack {
    Attack::new(
        "B8",
        "raises its priority, and requests real-time scheduling of CPU and disk",
        "every call is refused",
    )
    .stopped_by(&[Layer::Rlimits, Layer::Capabilities])
    .not_applicable_where(
        Deviation::OwnKernel,
        "priorities belong to the sandbox's own kernel, and host threads keep theirs",
    )
}
