//! Control groups: limits on the memory and the processes of a whole process tree, and the kernel's
//! own counters.
//!
//! Version 1 has one hierarchy per controller. The guest joins each one by writing `0` to its
//! `tasks` file, which the host opens because the guest has no permission to. Version 2 has one
//! hierarchy, and the kernel creates the guest in its group (`CLONE_INTO_CGROUP`). No code writes
//! sandboxed processes to `cgroup.procs`: that waits for an RCU grace period, about 11 ms.
//!
//! A version 1 group is used again once it has no process and next to no memory. A version 2 group
//! is removed with its sandbox.

mod cgroup_owner;
mod cgroup_pool;
mod cgroup_root;
mod control_files;
mod counter_files;
mod detect;
mod mounts;
mod sandbox_cgroup;

pub(crate) use cgroup_pool::CgroupPool;
pub(crate) use cgroup_root::{CgroupController, CgroupRoot, CgroupVersion};
pub(crate) use detect::{DetectedCgroups, detect, remove_unused};
pub(crate) use sandbox_cgroup::{CgroupLimits, SandboxCgroup};
