//! CommandSupervisor groups: limits on memory and processes of a whole tree, and the kernel's own counts.
//!
//! Version 1 has a hierarchy for each controller; the guest joins each by writing `0` to its `tasks` file, which is opened
//! here, where there is permission. Version 2 has one hierarchy, and the guest is born in its group
//! (`CLONE_INTO_CGROUP`). Nobody ever writes to `cgroup.procs`: that waits for an RCU grace period, about 11 ms.
//!
//! A group of version 1 may be used again, once nothing runs in it and next to no memory is left in it; one of version 2
//! is removed with its sandbox.

mod counters;
mod detect;
mod files;
mod group;
mod owner;
mod pool;

pub(super) use detect::{Controller, Found, Place, Version, detect, leave};
pub(super) use group::{Group, GroupLimits};
pub(super) use pool::Pool;
