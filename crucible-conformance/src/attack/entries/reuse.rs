//! Attacks by leftovers. One engine runs each attack twice in a row.

use crucible_core::Layer;

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds};

fn leftover(action: &'static str, layers: &'static [Layer], kinds: &'static str) -> Attack {
    Attack::new("M1", action, "the second run finds no object of the first")
        .stopped_by(layers)
        .ends_normally()
        .with_needs(FixtureNeeds::TwoRuns)
        .with_scratch_control(kinds)
}

pub(in crate::attack) fn leave_files() -> Attack {
    leftover("leaves a file in every writable directory", &[Layer::MountNamespace], "2")
}

pub(in crate::attack) fn leave_segment() -> Attack {
    leftover("leaves a System V shared memory segment", &[Layer::IpcNamespace], "i2")
}

pub(in crate::attack) fn leave_queue() -> Attack {
    leftover("leaves a POSIX message queue", &[Layer::IpcNamespace], "i2")
}

pub(in crate::attack) fn leave_abstract_socket() -> Attack {
    leftover("leaves a process that listens on an abstract socket", &[Layer::PidNamespace], "2")
}

pub(in crate::attack) fn leave_process() -> Attack {
    leftover("leaves a daemon", &[Layer::PidNamespace], "2")
}

pub(in crate::attack) fn leave_host_name() -> Attack {
    leftover(
        "leaves another host name",
        &[Layer::Seccomp, Layer::Capabilities, Layer::UtsNamespace],
        "u2",
    )
}

pub(in crate::attack) fn leave_keys() -> Attack {
    leftover(
        "leaves a key in the keyring of its user",
        &[Layer::Seccomp, Layer::DedicatedUser],
        "2",
    )
    .with_control(ControlMethod::UnsandboxedIfSupported("2", "this kernel has no keyrings"))
}

pub(in crate::attack) fn leave_oom_score() -> Attack {
    leftover("leaves a process that the kernel kills first when memory runs out", &[], "2")
        .with_control(ControlMethod::NotShown(
            "each process has its own score, and no process runs two programs",
        ))
}
