//! What is left for the next. Each is run twice in a row by one engine.

use crucible_core::Layer;

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds};

fn left(does: &'static str, layers: &'static [Layer], kinds: &'static str) -> Attack {
    Attack::new("M1", does, "the second run finds nothing of the first")
        .stopped_by(layers)
        .ends_normally()
        .with_needs(FixtureNeeds::TwoRuns)
        .with_scratch_control(kinds)
}

pub(in crate::attack) fn leave_files() -> Attack {
    left("leaves a file in every place that can be written to", &[Layer::MountNamespace], "2")
}

pub(in crate::attack) fn leave_segment() -> Attack {
    left("leaves a System V segment", &[Layer::IpcNamespace], "i2")
}

pub(in crate::attack) fn leave_queue() -> Attack {
    left("leaves a POSIX message queue", &[Layer::IpcNamespace], "i2")
}

pub(in crate::attack) fn leave_abstract_socket() -> Attack {
    left("leaves a process that listens on an abstract socket", &[Layer::PidNamespace], "2")
}

pub(in crate::attack) fn leave_process() -> Attack {
    left("leaves a daemon", &[Layer::PidNamespace], "2")
}

pub(in crate::attack) fn leave_host_name() -> Attack {
    left(
        "leaves another host name",
        &[Layer::Seccomp, Layer::Capabilities, Layer::UtsNamespace],
        "u2",
    )
}

pub(in crate::attack) fn leave_keys() -> Attack {
    left("leaves a key in the keyring of its user", &[Layer::Seccomp, Layer::DedicatedUser], "2")
        .with_control(ControlMethod::UnsandboxedIfSupported("2", "this kernel keeps no keys"))
}

pub(in crate::attack) fn leave_oom_score() -> Attack {
    left("leaves a process that the kernel ends first when memory runs out", &[], "2").with_control(
        ControlMethod::NotShown(
            "each process has a score of its own, and no process is used twice",
        ),
    )
}
