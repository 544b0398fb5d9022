//! The conformance suite on all storages, also through pointers and wrappers.

use std::sync::Arc;

use crucible_conformance::storage_conformance;
use crucible_core::Storage;
use crucible_core::testing::{Faults, FaultyStorage};
use crucible_storage::MemoryStorage;

storage_conformance!(memory, || async { MemoryStorage::new() });
storage_conformance!(shared, || async { Arc::new(MemoryStorage::new()) as Arc<dyn Storage> });
storage_conformance!(boxed, || async { Box::new(MemoryStorage::new()) as Box<dyn Storage> });
storage_conformance!(without_faults, || async {
    FaultyStorage::new(MemoryStorage::new(), Faults::none())
});

#[cfg(feature = "durable")]
#[path = "support/storage_fixture.rs"]
#[expect(dead_code, reason = "other test programs use the rest")]
mod storage_fixture;

#[cfg(feature = "durable")]
mod durable_conformance {
    use super::storage_conformance;
    use super::storage_fixture::{StorageFixture, memory, redb, sled};

    storage_conformance!(over_memory, || async { StorageFixture::open(&memory()).await });
    storage_conformance!(over_redb, || async { StorageFixture::open(&redb()).await });
    storage_conformance!(over_sled, || async { StorageFixture::open(&sled()).await });
}
