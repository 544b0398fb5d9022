//! Tests of the container engine with the machine's daemon. `ci/docker start` and `ci/docker image`
//! set one up.
//!
//! Without a daemon every test prints SKIPPED and the reason. If `CI` or `CRUCIBLE_REQUIRE_DOCKER`
//! is set, it fails.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of a test may panic, as the test itself may"
)]

mod conformance;
mod daemon_calls;
mod faults;
mod oom_scores;
mod output;
mod ownership;
mod ready_containers;
mod registry;
mod support;
mod test_proxy;
