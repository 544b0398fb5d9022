//! What is only true of a storage that outlives its process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

mod blobs;
mod damage;
mod events;
mod failures;
mod format;
mod known;
mod moving;
mod secrets;
#[path = "../support/durable.rs"]
mod support;
mod times;
