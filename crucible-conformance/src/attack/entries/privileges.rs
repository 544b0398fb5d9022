//! Namespaces, credentials, and other processes' memory and descriptors.

use crucible_core::{Deviation, Layer};

use crate::attack::definition::Attack;

const SECCOMP: &[Layer] = &[Layer::Seccomp];
const BOTH: &[Layer] = &[Layer::Seccomp, Layer::Capabilities];
const OTHERS: &[Layer] =
    &[Layer::Seccomp, Layer::PidNamespace, Layer::DedicatedUser, Layer::Capabilities];
/// Refused, or nobody by that number: the host knows that there is one.
const REFUSED_OR_NOBODY: &[i32] = &[1, 13, 38, 3, 2];

pub(in crate::attack) fn unshare_user() -> Attack {
    Attack::new("F1", "makes a user namespace, in which it is root, by unshare(2)", "it cannot")
        .stopped_by(SECCOMP)
}

pub(in crate::attack) fn unshare_others() -> Attack {
    Attack::new("F1", "makes every other kind of namespace by unshare(2)", "it cannot")
        .stopped_by(BOTH)
}

pub(in crate::attack) fn clone_user() -> Attack {
    Attack::new("F1", "makes a user namespace by clone(2)", "it cannot").stopped_by(SECCOMP)
}

pub(in crate::attack) fn clone3_user() -> Attack {
    Attack::new(
        "F1",
        "makes a user namespace by clone3(2), whose flags no filter can see",
        "it cannot",
    )
    .stopped_by(SECCOMP)
}

pub(in crate::attack) fn join_namespace() -> Attack {
    Attack::new("F1", "joins namespaces by descriptor", "it cannot")
        .stopped_by(BOTH)
        .not_applicable_where(Deviation::OwnKernel, "its kernel names no namespace of the host")
}

pub(in crate::attack) fn become_root() -> Attack {
    Attack::new("F10", "becomes root, and takes root's group", "it cannot")
        .stopped_by(&[Layer::Capabilities, Layer::UserNamespace])
        .refused_with(&[1, 22])
}

pub(in crate::attack) fn drop_no_new_privs() -> Attack {
    Attack::new(
        "F10",
        "looks whether programs that it executes may gain privileges",
        "they may not",
    )
    .stopped_by(&[Layer::NoNewPrivileges])
    .ends_normally()
}

pub(in crate::attack) fn raise_capabilities() -> Attack {
    Attack::new(
        "F10",
        "looks for capabilities that it has or might get",
        "it has none, and gets none",
    )
    .stopped_by(&[Layer::Capabilities])
    .ends_normally()
}

pub(in crate::attack) fn read_supervisor_memory() -> Attack {
    Attack::new(
        "F2",
        "reads memory, variables and map of the process above it from `/proc`",
        "it cannot",
    )
    .stopped_by(&[Layer::PidNamespace, Layer::DedicatedUser, Layer::Capabilities])
    .refused_with(REFUSED_OR_NOBODY)
    .with_scratch_control("s")
    .not_applicable_where(
        Deviation::GuestIsSeen,
        "its environment can be read there, and is empty; its memory cannot",
    )
}

pub(in crate::attack) fn trace_supervisor() -> Attack {
    Attack::new("F2", "traces the process above it", "it cannot")
        .stopped_by(OTHERS)
        .with_scratch_control("s")
}

pub(in crate::attack) fn trace_host_process() -> Attack {
    Attack::new("F2", "traces a process of the host", "it cannot")
        .stopped_by(OTHERS)
        .refused_with(REFUSED_OR_NOBODY)
}

pub(in crate::attack) fn read_process_memory() -> Attack {
    Attack::new(
        "F2",
        "reads and writes the memory of the process above it and of one of the host",
        "it cannot",
    )
    .stopped_by(OTHERS)
    .refused_with(REFUSED_OR_NOBODY)
    .with_scratch_control("s")
}

pub(in crate::attack) fn take_descriptor() -> Attack {
    Attack::new("F2", "takes a descriptor from the process above it", "it cannot")
        .stopped_by(OTHERS)
        .with_scratch_control("s")
}

pub(in crate::attack) fn compare_processes() -> Attack {
    Attack::new("F2", "compares itself with the process above it", "it cannot")
        .stopped_by(OTHERS)
        .with_scratch_control("s")
}

pub(in crate::attack) fn advise_a_process() -> Attack {
    Attack::new("F2", "pages out memory of the process above it", "it cannot")
        .stopped_by(OTHERS)
        .with_scratch_control("s")
}

pub(in crate::attack) fn core_of_another() -> Attack {
    Attack::new(
        "F2",
        "goes to the root and the directory of other processes by `/proc`",
        "it cannot",
    )
    .stopped_by(&[Layer::PidNamespace, Layer::DedicatedUser, Layer::Capabilities])
    .refused_with(REFUSED_OR_NOBODY)
    .with_scratch_control("s")
}
