//! Attacks on the operator's terminal.

use crucible_core::{Deviation, Layer};

use crate::attack::definition::Attack;

const SECCOMP: &[Layer] = &[Layer::Seccomp];

pub(in crate::attack) fn type_ahead() -> Attack {
    Attack::new(
        "I1",
        "inserts characters into the operator's terminal input (CVE-2017-5226)",
        "it has no terminal, and the call is refused",
    )
    .stopped_by(SECCOMP)
    .with_scratch_control("t")
}

pub(in crate::attack) fn paste() -> Attack {
    Attack::new("I1", "pastes the console's selection", "the call is refused").stopped_by(SECCOMP)
}

pub(in crate::attack) fn take_terminal() -> Attack {
    Attack::new(
        "I2",
        "opens a terminal and makes it its controlling terminal",
        "no terminal exists",
    )
    .stopped_by(&[Layer::MountNamespace, Layer::DedicatedUser])
    .ends_normally()
    .not_applicable_where(Deviation::OwnKernel, "the terminals belong to the sandbox's own kernel")
}
