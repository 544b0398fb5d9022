//! Attacks by memory, in every form that a program can hold.

use crucible_core::{Layer, Limit};

use crate::attack::definition::Attack;

const MEMORY: &[Layer] = &[Layer::MemoryCgroup];
const MIB: u64 = 1024 * 1024;

fn hoard(catalogue: &'static str, action: &'static str) -> Attack {
    Attack::new(
        catalogue,
        action,
        "it never holds more than its limit, and the verdict is `memory`",
    )
    .stopped_by(MEMORY)
    .ends_at(Limit::Memory)
    .with_limits(|limits| limits.with_disk_bytes(1024 * MIB))
}

pub(in crate::attack) fn touch() -> Attack {
    hoard("B3", "touches 192 MiB")
}

pub(in crate::attack) fn touch_in_a_child() -> Attack {
    hoard("B4", "touches 192 MiB in a child, while the parent would exit with 0")
}

pub(in crate::attack) fn touch_shared() -> Attack {
    hoard("B3", "touches 192 MiB of shared memory")
}

pub(in crate::attack) fn fill_tmpfs() -> Attack {
    hoard("B3", "writes 192 MiB into a tmpfs")
}

pub(in crate::attack) fn fill_memfd() -> Attack {
    hoard("B3", "writes 192 MiB into a memfd")
}

pub(in crate::attack) fn fill_segment() -> Attack {
    hoard("B3", "touches a System V shared memory segment of 192 MiB").with_scratch_control("i")
}

pub(in crate::attack) fn page_out() -> Attack {
    hoard("B5", "touches 192 MiB, and asks the kernel to write each piece to swap")
}
