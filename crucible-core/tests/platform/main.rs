//! The platform with a scripted engine and backends in memory.
//!
//! Most tests run with paused time: while all tasks wait, the clock jumps to the next timer.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test helpers may panic, like the tests themselves"
)]

mod artifacts;
mod builder;
mod cancel;
mod drop;
mod engines;
mod events;
mod expiry;
mod faults;
mod idempotency;
mod intercepted_queue;
mod intercepted_storage;
mod leases;
mod monitors;
mod multiple_hosts;
mod order;
mod outcomes;
mod output;
mod panics;
mod purge;
mod recovery;
mod redrive;
mod refusal;
mod retry;
mod secrets;
mod shutdown;
mod support;
