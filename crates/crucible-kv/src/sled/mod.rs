//! sled as a backend.

mod backend;
mod sled_entry;

pub use backend::SledBackend;
