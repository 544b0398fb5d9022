//! Work that outlives a call: removal of containers, refill of the pool, and the reaper.

mod background_tasks;
mod background_worker;
mod reaper;

pub(crate) use background_tasks::BackgroundTasks;
pub(crate) use background_worker::{BackgroundWorker, ReadyContainers};
pub(crate) use reaper::reap;
