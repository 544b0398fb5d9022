//! Kills a host at random times. Every evaluation that the host accepted must exist and end once.
//!
//! `CRUCIBLE_CRASH_KILLS` sets the number of kills, 50 by default. `CRUCIBLE_CRASH_SEED` repeats
//! the random times of a failed run, as far as the scheduler allows.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic reports the failure of a test")]

mod host;
mod invariants;
mod kill_loop;
mod power_cut;
mod stopped_host;

/// The store of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Default,
    Sled,
}

#[test]
fn default_store_survives_killed_hosts() {
    kill_loop::kill_repeatedly(StoreKind::Default);
}

#[test]
fn sled_survives_killed_hosts() {
    kill_loop::kill_repeatedly(StoreKind::Sled);
}
