//! The host's resources that sandboxes consist of, and their allocation.

mod allocator;
mod network_namespaces;
mod reservation;
mod sandbox_size;
mod slot;
mod user_ids;

pub(crate) use allocator::{AllocatorParts, ResourceAllocator};
pub(crate) use reservation::Reservation;
pub(crate) use sandbox_size::SandboxSize;
pub(crate) use slot::Slot;
pub(crate) use user_ids::UserIdPool;
