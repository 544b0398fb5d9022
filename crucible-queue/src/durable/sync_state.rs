//! Whether memory and store agree.

use super::clock_reading::ClockReading;

/// Whether the tickets in memory equal the tickets in the store.
#[derive(Debug)]
pub(super) struct SyncState {
    /// The number of times that the tickets were reloaded from the store.
    pub(super) reloads: u64,
    /// Whether a write has failed since the last reload.
    pub(super) is_stale: bool,
    /// A time at or after the last change of a ticket.
    pub(super) now: ClockReading,
}
