//! Disk space, files that are no files, and what is the system's.

use crucible_core::{Deviation, Layer, Limit};

use crate::attack::definition::{Attack, ControlMethod};

const DISK: &[Layer] = &[Layer::BoundedDisk];
const MIB: u64 = 1024 * 1024;

fn filling(catalogue: &'static str, does: &'static str) -> Attack {
    Attack::new(catalogue, does, "it gets no more than its limit, and the verdict is `disk`")
        .stopped_by(DISK)
        .ends_at(Limit::Disk)
        .with_limits(|limits| limits.with_memory_bytes(256 * MIB))
}

pub(in crate::attack) fn fill_tmp() -> Attack {
    filling("D1", "writes 64 MiB into `/tmp`")
}

pub(in crate::attack) fn fill_box() -> Attack {
    filling("D1", "writes 64 MiB into its working directory")
}

pub(in crate::attack) fn reserve() -> Attack {
    filling("D1", "reserves 64 MiB by fallocate(2), and writes as many")
}

pub(in crate::attack) fn sparse_then_touch() -> Attack {
    filling("D1", "makes a file of 64 TiB of nothing, and writes 64 MiB of it")
}

pub(in crate::attack) fn many_files() -> Attack {
    filling("D2", "makes 5,000 files")
}

pub(in crate::attack) fn many_directories() -> Attack {
    filling("D2", "makes 5,000 directories, each in the one before")
}

pub(in crate::attack) fn many_links() -> Attack {
    filling("D2", "makes 5,000 symbolic links with long targets")
}

pub(in crate::attack) fn write_to_the_system() -> Attack {
    Attack::new(
        "D3",
        "opens system files for writing, and makes files in system directories",
        "nothing can be written to but its own places",
    )
    .stopped_by(&[Layer::ReadOnlyRoot, Layer::Landlock, Layer::DedicatedUser])
}

pub(in crate::attack) fn make_devices() -> Attack {
    Attack::new("D5", "makes device files for the memory and the disk of the machine", "it cannot")
        .stopped_by(&[Layer::Capabilities, Layer::UserNamespace])
        .not_applicable_where(
            Deviation::OwnKernel,
            "its kernel has no such devices: what is made leads to nothing",
        )
}

pub(in crate::attack) fn dump_core() -> Attack {
    Attack::new(
        "D4",
        "raises its core limit and aborts",
        "no core is dumped, and no crash handler of the host is started",
    )
    .stopped_by(&[Layer::Seccomp, Layer::Rlimits])
    .ends_normally()
    .with_control(ControlMethod::UnsandboxedIfSupported("", "this host dumps no core for anybody"))
}

pub(in crate::attack) fn open_many_files() -> Attack {
    Attack::new("K6", "opens 200 files at once", "it gets no more than its limit")
        .stopped_by(&[Layer::Rlimits])
        .refused_with(&[24])
}

pub(in crate::attack) fn lease_a_shared_file() -> Attack {
    Attack::new(
        "D7",
        "takes leases on files of the system, which would hold up whoever writes to them",
        "it cannot",
    )
    .stopped_by(&[Layer::DedicatedUser])
    .not_applicable_where(Deviation::OwnKernel, "its kernel knows no leases")
}

pub(in crate::attack) fn stubborn_files() -> Attack {
    Attack::new(
        "D6",
        "leaves directories that nobody may enter, and open files without a name",
        "nothing of them is left",
    )
    .stopped_by(DISK)
    .ends_normally()
    .with_control(ControlMethod::NotShown("whoever runs the control as root can remove anything"))
}
