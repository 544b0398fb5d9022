//! The terminal of whoever runs the host program.

use crucible_core::{Deviation, Layer};

use crate::attack::definition::Attack;

const SECCOMP: &[Layer] = &[Layer::Seccomp];

pub(in crate::attack) fn type_ahead() -> Attack {
    Attack::new(
        "I1",
        "types on the terminal, as if the operator did (CVE-2017-5226)",
        "it has no terminal, and could not",
    )
    .stopped_by(SECCOMP)
    .with_scratch_control("t")
}

pub(in crate::attack) fn paste() -> Attack {
    Attack::new("I1", "pastes the selection of the console", "it cannot").stopped_by(SECCOMP)
}

pub(in crate::attack) fn take_terminal() -> Attack {
    Attack::new("I2", "opens a terminal and takes it for its own session", "there is none")
        .stopped_by(&[Layer::MountNamespace, Layer::DedicatedUser])
        .ends_normally()
        .not_applicable_where(Deviation::OwnKernel, "terminals are those of its own kernel")
}
