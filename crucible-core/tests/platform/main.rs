//! The platform over an engine that plays a script and backends in memory. Unless a test says otherwise, time is paused:
//! it moves only when everybody waits, and then to the next thing that is waited for.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

mod artifacts;
mod building;
mod cancelling;
mod dropping;
mod engines;
mod expiring;
mod faults;
mod following;
mod hosts;
mod idempotency;
mod leases;
mod monitors;
mod order;
mod outcomes;
mod output;
mod panics;
mod purging;
mod recovering;
mod redriving;
mod refusing;
mod retrying;
mod secrets;
mod shutdown;
mod support;
mod tampered_queue;
mod tampered_storage;
