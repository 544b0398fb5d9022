//! Attacks on namespaces, credentials, and other processes' memory and descriptors.

use crucible_core::{Deviation, Layer};

use crate::attack::definition::Attack;

const SECCOMP: &[Layer] = &[Layer::Seccomp];
const BOTH: &[Layer] = &[Layer::Seccomp, Layer::Capabilities];
const OTHERS: &[Layer] =
    &[Layer::Seccomp, Layer::PidNamespace, Layer::DedicatedUser, Layer::Capabilities];
/// Refused, or no process with this number: on the host the number exists.
const REFUSED_OR_NO_PROCESS: &[i32] = &[1, 13, 38, 3, 2];

pub(in crate::attack) fn unshare_user() -> Attack {
    Attack::new(
        "F1",
        "creates a user namespace, in which it is root, by unshare(2)",
        "every attempt is refused",
    )
    .stopped_by(SECCOMP)
}

pub(in crate::attack) fn unshare_others() -> Attack {
    Attack::new(
        "F1",
        "creates every other kind of namespace by unshare(2)",
        "every attempt is refused",
    )
    .stopped_by(BOTH)
}

pub(in crate::attack) fn clone_user() -> Attack {
    Attack::new("F1", "creates a user namespace by clone(2)", "every attempt is refused")
        .stopped_by(SECCOMP)
}

pub(in crate::attack) fn clone3_user() -> Attack {
    Attack::new(
        "F1",
        "creates a user namespace by clone3(2), whose flags a filter cannot read",
        "every attempt is refused",
    )
    .stopped_by(SECCOMP)
}

pub(in crate::attack) fn join_namespace() -> Attack {
    Attack::new("F1", "joins namespaces by descriptor", "every attempt is refused")
        .stopped_by(BOTH)
        .not_applicable_where(
            Deviation::OwnKernel,
            "the sandbox's own kernel has no namespace of the host",
        )
}

pub(in crate::attack) fn become_root() -> Attack {
    Attack::new("F10", "becomes root, and joins the group of root", "every attempt is refused")
        .stopped_by(&[Layer::Capabilities, Layer::UserNamespace])
        .refused_with(&[1, 22])
}

pub(in crate::attack) fn drop_no_new_privs() -> Attack {
    Attack::new("F10", "checks whether executed programs can gain privileges", "they cannot")
        .stopped_by(&[Layer::NoNewPrivileges])
        .ends_normally()
}

pub(in crate::attack) fn raise_capabilities() -> Attack {
    Attack::new(
        "F10",
        "checks its capability sets, bounding set and securebits",
        "it has no capability and cannot get one",
    )
    .stopped_by(&[Layer::Capabilities])
    .ends_normally()
}

pub(in crate::attack) fn read_supervisor_memory() -> Attack {
    Attack::new(
        "F2",
        "reads memory, environment and memory map of its parent process from `/proc`",
        "every attempt is refused",
    )
    .stopped_by(&[Layer::PidNamespace, Layer::DedicatedUser, Layer::Capabilities])
    .refused_with(REFUSED_OR_NO_PROCESS)
    .with_scratch_control("s")
    .not_applicable_where(
        Deviation::GuestIsSeen,
        "the guest's environment is readable and empty, and its memory is not readable",
    )
}

pub(in crate::attack) fn trace_supervisor() -> Attack {
    Attack::new("F2", "traces its parent process", "every attempt is refused")
        .stopped_by(OTHERS)
        .with_scratch_control("s")
}

pub(in crate::attack) fn trace_host_process() -> Attack {
    Attack::new("F2", "traces a host process", "every attempt is refused")
        .stopped_by(OTHERS)
        .refused_with(REFUSED_OR_NO_PROCESS)
}

pub(in crate::attack) fn read_process_memory() -> Attack {
    Attack::new(
        "F2",
        "reads and writes the memory of its parent process and of a host process",
        "every attempt is refused",
    )
    .stopped_by(OTHERS)
    .refused_with(REFUSED_OR_NO_PROCESS)
    .with_scratch_control("s")
}

pub(in crate::attack) fn take_descriptor() -> Attack {
    Attack::new("F2", "takes a descriptor from its parent process", "every attempt is refused")
        .stopped_by(OTHERS)
        .with_scratch_control("s")
}

pub(in crate::attack) fn compare_processes() -> Attack {
    Attack::new(
        "F2",
        "compares itself with its parent process by kcmp(2)",
        "every attempt is refused",
    )
    .stopped_by(OTHERS)
    .with_scratch_control("s")
}

pub(in crate::attack) fn advise_a_process() -> Attack {
    Attack::new("F2", "pages out memory of its parent process", "every attempt is refused")
        .stopped_by(OTHERS)
        .with_scratch_control("s")
}

pub(in crate::attack) fn core_of_another() -> Attack {
    Attack::new(
        "F2",
        "opens files in the root and working directory of other processes by `/proc`",
        "every attempt is refused",
    )
    .stopped_by(&[Layer::PidNamespace, Layer::DedicatedUser, Layer::Capabilities])
    .refused_with(REFUSED_OR_NO_PROCESS)
    .with_scratch_control("s")
}
