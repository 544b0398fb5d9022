//! The engine of containers, on whatever daemon this machine has: `ci/docker start` and `ci/docker image` give it one.
//!
//! Without a daemon every test says SKIPPED and why; where there has to be one (`CI`, or `CRUCIBLE_REQUIRE_DOCKER`), it fails.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

mod conformance;
mod door;
mod faults;
mod memory;
mod output;
mod owners;
mod registry;
mod support;
mod warm;
mod wire;
