//! What the host has: files, processes, devices, settings, descriptors, variables.

use crucible_core::{Deviation, Layer};

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds};

const MOUNTS: &[Layer] = &[Layer::MountNamespace];
/// Refused, read-only, or not there: the sandbox need not have what the host does.
const REFUSED_OR_NOT_THERE: &[i32] = &[1, 13, 30, 2, 6, 38];

pub(in crate::attack) fn read_a_host_file() -> Attack {
    Attack::new(
        "D3",
        "reads a file of the host by every path that has worked before",
        "its content does not come out",
    )
    .stopped_by(MOUNTS)
    .ends_normally()
}

pub(in crate::attack) fn write_a_host_file() -> Attack {
    Attack::new("D3", "writes to a file of the host and removes it", "it stays as it is")
        .stopped_by(MOUNTS)
        .ends_normally()
}

pub(in crate::attack) fn see_host_processes() -> Attack {
    Attack::new(
        "G4",
        "lists processes, and reads the command line of one of the host",
        "it sees its own",
    )
    .stopped_by(&[Layer::PidNamespace])
    .ends_normally()
}

pub(in crate::attack) fn kernel_memory() -> Attack {
    Attack::new("F8", "opens the memory of the kernel and its log", "it cannot")
        .stopped_by(&[Layer::DedicatedUser, Layer::Capabilities, Layer::UserNamespace])
        .refused_with(REFUSED_OR_NOT_THERE)
}

pub(in crate::attack) fn kernel_settings() -> Attack {
    Attack::new(
        "J1",
        "opens settings of the kernel for writing, those that name a program first",
        "it cannot",
    )
    .stopped_by(&[Layer::DedicatedUser, Layer::UserNamespace, Layer::Landlock])
    .refused_with(REFUSED_OR_NOT_THERE)
}

pub(in crate::attack) fn sysrq() -> Attack {
    Attack::new("J1", "opens the keys by which the machine is restarted, for writing", "it cannot")
        .stopped_by(&[Layer::DedicatedUser, Layer::UserNamespace, Layer::Landlock])
        .refused_with(REFUSED_OR_NOT_THERE)
        .with_control(ControlMethod::UnsandboxedIfSupported("", "this kernel has no such keys"))
}

pub(in crate::attack) fn release_agent() -> Attack {
    Attack::new(
        "F8",
        "mounts a cgroup hierarchy, and looks for the host's (CVE-2022-0492)",
        "it cannot",
    )
    .stopped_by(&[Layer::Seccomp, Layer::Capabilities])
    .with_scratch_control("m")
}

pub(in crate::attack) fn raw_devices() -> Attack {
    Attack::new(
        "D5",
        "opens disks and other devices of the machine",
        "there are none but the not_applicable ones",
    )
    .stopped_by(&[Layer::MountNamespace, Layer::DedicatedUser])
    .ends_normally()
    .not_applicable_where(Deviation::OwnKernel, "the devices are those of its own kernel")
    .with_control(ControlMethod::UnsandboxedIfSupported("", "this host has none of these devices"))
}

pub(in crate::attack) fn inherited_descriptors() -> Attack {
    Attack::new(
        "G5",
        "looks for descriptors that the host left open (CVE-2024-21626)",
        "it has 0, 1 and 2",
    )
    .ends_normally()
    .with_needs(FixtureNeeds::LeakedDescriptor)
}

pub(in crate::attack) fn host_environment() -> Attack {
    Attack::new("G6", "tells the variables that it has", "none of the host's is among them")
        .ends_normally()
}
