//! Sandboxes, slots and interpreters that are opened ahead of time.

mod ready_cache;
mod ready_interpreter;
mod ready_sandbox;
mod slot_factory;
mod slot_pool;
mod slot_recycler;

pub(crate) use ready_cache::{ReadyCache, ReadyCacheConfig};
pub(crate) use ready_interpreter::ReadyInterpreter;
pub(crate) use ready_sandbox::ReadySandbox;
