//! Attacks on disk space, inodes, special files, and system directories.

use crucible_core::{Deviation, Layer, Limit};

use crate::attack::definition::{Attack, ControlMethod};

const DISK: &[Layer] = &[Layer::BoundedDisk];
const MIB: u64 = 1024 * 1024;

fn fill_disk(catalogue: &'static str, action: &'static str) -> Attack {
    Attack::new(catalogue, action, "it uses no more than its limit, and the verdict is `disk`")
        .stopped_by(DISK)
        .ends_at(Limit::Disk)
        .with_limits(|limits| limits.with_memory_bytes(256 * MIB))
}

pub(in crate::attack) fn fill_tmp() -> Attack {
    fill_disk("D1", "writes 64 MiB into `/tmp`")
}

pub(in crate::attack) fn fill_box() -> Attack {
    fill_disk("D1", "writes 64 MiB into its working directory")
}

pub(in crate::attack) fn reserve() -> Attack {
    fill_disk("D1", "reserves 64 MiB by fallocate(2), and writes 64 MiB")
}

pub(in crate::attack) fn sparse_then_touch() -> Attack {
    fill_disk("D1", "creates a sparse file of 64 TiB, and writes 64 MiB into it")
}

pub(in crate::attack) fn many_files() -> Attack {
    fill_disk("D2", "creates 5,000 files")
}

pub(in crate::attack) fn many_directories() -> Attack {
    fill_disk("D2", "creates 5,000 nested directories")
}

pub(in crate::attack) fn many_links() -> Attack {
    fill_disk("D2", "creates 5,000 symbolic links with long targets")
}

pub(in crate::attack) fn write_to_the_system() -> Attack {
    Attack::new(
        "D3",
        "opens system files for writing, and creates files in system directories",
        "every attempt outside its writable directories is refused",
    )
    .stopped_by(&[Layer::ReadOnlyRoot, Layer::Landlock, Layer::DedicatedUser])
}

pub(in crate::attack) fn make_devices() -> Attack {
    Attack::new(
        "D5",
        "creates device files for the memory and the disk of the machine",
        "every call is refused",
    )
    .stopped_by(&[Layer::Capabilities, Layer::UserNamespace])
    .not_applicable_where(Deviation::OwnKernel, "the sandbox's own kernel has no such devices")
}

pub(in crate::attack) fn dump_core() -> Attack {
    Attack::new(
        "D4",
        "raises its core dump limit and aborts",
        "no core is dumped, and no crash handler of the host starts",
    )
    .stopped_by(&[Layer::Seccomp, Layer::Rlimits])
    .ends_normally()
    .with_control(ControlMethod::UnsandboxedIfSupported("", "this host writes no core dumps"))
}

pub(in crate::attack) fn open_many_files() -> Attack {
    Attack::new("K6", "opens 200 files at the same time", "it opens no more than its limit")
        .stopped_by(&[Layer::Rlimits])
        .refused_with(&[24])
}

pub(in crate::attack) fn lease_a_shared_file() -> Attack {
    Attack::new(
        "D7",
        "takes leases on system files, which would delay a process that writes to them",
        "every lease is refused",
    )
    .stopped_by(&[Layer::DedicatedUser])
    .not_applicable_where(
        Deviation::OwnKernel,
        "the sandbox's own kernel has no leases on host files",
    )
}

pub(in crate::attack) fn stubborn_files() -> Attack {
    Attack::new(
        "D6",
        "leaves directories without permissions, and open files without a name",
        "the engine removes all of them",
    )
    .stopped_by(DISK)
    .ends_normally()
    .with_control(ControlMethod::NotShown("a control as root can remove everything"))
}
