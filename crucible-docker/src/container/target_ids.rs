//! The user ids of targets.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Ids where a container's ids are the host's: far from those of people and services.
const HOST_IDS: Range<u32> = 20_000..0x7fff_0000;
/// Ids where the daemon maps them. Usually 65,536 are mapped (subuid(5)).
const MAPPED_IDS: Range<u32> = 20_000..60_000;

/// The user ids of the targets of an engine.
#[derive(Debug)]
pub(super) struct TargetIds {
    range: Range<u32>,
    next: AtomicU32,
}

impl TargetIds {
    /// Creates the ids of an engine. Each engine begins at a random id, so the ids of different
    /// engines rarely meet.
    pub(super) fn new(has_user_namespace: bool) -> Self {
        let range = if has_user_namespace { MAPPED_IDS } else { HOST_IDS };
        let seed = u32::try_from(uuid::Uuid::now_v7().as_u128() & 0xffff_ffff).unwrap_or_default();
        Self { range, next: AtomicU32::new(seed) }
    }

    /// Returns an id that no other running container of this engine has.
    pub(super) fn next(&self) -> u32 {
        let count = self.range.end - self.range.start;
        self.range.start + self.next.fetch_add(1, Ordering::Relaxed) % count
    }

    /// Returns `true` if the id is in the range of targets.
    pub(super) fn is_target(id: u32) -> bool {
        id >= HOST_IDS.start
    }
}
