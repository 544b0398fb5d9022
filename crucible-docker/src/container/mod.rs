//! Containers of sandboxes: creation, verification, pool and loss.

mod agent_volume;
mod container_factory;
mod container_guard;
mod container_policy;
mod container_pool;
mod enforcement;
mod guest_container;
mod layer_check;
mod target_ids;

pub(crate) use container_pool::ContainerPool;
pub(crate) use enforcement::enforcement_of_command;
pub(crate) use guest_container::GuestContainer;
