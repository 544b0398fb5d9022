//! Backends for tests: a model of a disk, fault injection, and power cuts.

mod crash_images;
mod faulty_backend;
mod memory_backend;

pub use crash_images::CrashImages;
pub use faulty_backend::{BackendFault, BackendFaults, FaultyBackend};
pub use memory_backend::MemoryBackend;
