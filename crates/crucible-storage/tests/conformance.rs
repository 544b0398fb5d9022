//! The storage does what every storage must, also through pointers and wrappers.

use std::sync::Arc;

use crucible_conformance::storage_conformance;
use crucible_core::Storage;
use crucible_core::testing::{Faults, FaultyStorage};
use crucible_storage::MemoryStorage;

storage_conformance!(memory, || async { MemoryStorage::new() });
storage_conformance!(shared, || async { Arc::new(MemoryStorage::new()) as Arc<dyn Storage> });
storage_conformance!(boxed, || async { Box::new(MemoryStorage::new()) as Box<dyn Storage> });
storage_conformance!(without_faults, || async { FaultyStorage::new(MemoryStorage::new(), Faults::none()) });
