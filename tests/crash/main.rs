//! A host is killed again and again, at any moment: what it said it accepted is there, and ends once.
//!
//! `CRUCIBLE_CRASH_KILLS` says how often; 50 times by default. `CRUCIBLE_CRASH_SEED` repeats the moments of a run that failed,
//! as far as moments can be repeated.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test it is how a failure is reported")]

mod host;
mod invariants;
mod kill_loop;
mod power_cut;
mod stopped_host;

/// The kinds of stores that a data directory can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Default,
    Sled,
}

#[test]
fn the_default_store_survives_its_host() {
    kill_loop::kill_repeatedly(Kind::Default);
}

#[test]
fn sled_survives_its_host() {
    kill_loop::kill_repeatedly(Kind::Sled);
}
