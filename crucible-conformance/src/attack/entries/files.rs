//! Attacks on host objects: files, processes, devices, kernel settings, descriptors, variables.

use crucible_core::{Deviation, Layer};

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds};

const MOUNTS: &[Layer] = &[Layer::MountNamespace];
/// Refused, read-only, or missing: a sandbox need not have every object of the host.
const REFUSED_OR_MISSING: &[i32] = &[1, 13, 30, 2, 6, 38];

pub(in crate::attack) fn read_a_host_file() -> Attack {
    Attack::new(
        "D3",
        "reads a file of the host by paths that have bypassed checks before",
        "the program does not get its content",
    )
    .stopped_by(MOUNTS)
    .ends_normally()
}

pub(in crate::attack) fn write_a_host_file() -> Attack {
    Attack::new("D3", "writes to a file of the host and removes it", "the file is unchanged")
        .stopped_by(MOUNTS)
        .ends_normally()
}

pub(in crate::attack) fn see_host_processes() -> Attack {
    Attack::new(
        "G4",
        "lists processes, and reads the command line of a host process",
        "it sees only its own processes",
    )
    .stopped_by(&[Layer::PidNamespace])
    .ends_normally()
}

pub(in crate::attack) fn kernel_memory() -> Attack {
    Attack::new("F8", "opens the kernel's memory and log", "every open is refused")
        .stopped_by(&[Layer::DedicatedUser, Layer::Capabilities, Layer::UserNamespace])
        .refused_with(REFUSED_OR_MISSING)
}

pub(in crate::attack) fn kernel_settings() -> Attack {
    Attack::new(
        "J1",
        "opens kernel settings for writing, including ones that name a program to start",
        "every open is refused",
    )
    .stopped_by(&[Layer::DedicatedUser, Layer::UserNamespace, Layer::Landlock])
    .refused_with(REFUSED_OR_MISSING)
}

pub(in crate::attack) fn sysrq() -> Attack {
    Attack::new(
        "J1",
        "opens the SysRq files, which can restart the machine, for writing",
        "every open is refused",
    )
    .stopped_by(&[Layer::DedicatedUser, Layer::UserNamespace, Layer::Landlock])
    .refused_with(REFUSED_OR_MISSING)
    .with_control(ControlMethod::UnsandboxedIfSupported("", "this kernel has no SysRq files"))
}

pub(in crate::attack) fn release_agent() -> Attack {
    Attack::new(
        "F8",
        "mounts a cgroup hierarchy, and opens files of the host's hierarchy (CVE-2022-0492)",
        "every call is refused",
    )
    .stopped_by(&[Layer::Seccomp, Layer::Capabilities])
    .with_scratch_control("m")
}

pub(in crate::attack) fn raw_devices() -> Attack {
    Attack::new(
        "D5",
        "opens disks and other devices of the machine",
        "only the harmless devices exist",
    )
    .stopped_by(&[Layer::MountNamespace, Layer::DedicatedUser])
    .ends_normally()
    .not_applicable_where(Deviation::OwnKernel, "the devices belong to the sandbox's own kernel")
    .with_control(ControlMethod::UnsandboxedIfSupported("", "this host has none of the devices"))
}

pub(in crate::attack) fn inherited_descriptors() -> Attack {
    Attack::new(
        "G5",
        "looks for inherited descriptors of the host (CVE-2024-21626)",
        "only the descriptors 0, 1 and 2 are open",
    )
    .ends_normally()
    .with_needs(FixtureNeeds::LeakedDescriptor)
}

pub(in crate::attack) fn host_environment() -> Attack {
    Attack::new("G6", "reports its environment variables", "it has no variable of the host")
        .ends_normally()
}
