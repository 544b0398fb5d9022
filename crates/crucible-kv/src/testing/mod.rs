//! Stores for tests: a model of a disk, one that fails when it is told to, and one whose power can be cut.

mod crash_images;
mod faulty;
mod memory;

pub use crash_images::CrashImages;
pub use faulty::{Fault, Faults, FaultyBackend};
pub use memory::MemoryBackend;
