//! Tests of durability, beside the conformance suite.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper may panic, as the test itself may"
)]

mod blobs;
mod concurrent_pages;
mod corruption;
mod events;
mod failures;
mod migration;
mod record_cache;
mod secrets;
#[path = "../support/storage_fixture.rs"]
mod storage_fixture;
mod submission_times;
