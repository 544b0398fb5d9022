//! What is only true of a storage that outlives its process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
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
