//! The parts of an engine that its sandboxes use.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::Enforcement;

use super::status_sampler::StatusSampler;
use crate::linux::channel::ChannelParts;
use crate::linux::egress::EgressResolver;
use crate::linux::resources::{Reservation, ResourceAllocator, SandboxSize};
use crate::linux::teardown::{Reaper, Remnants};

/// The owner of the slots that sandboxes run in.
pub(crate) trait SlotOwner: fmt::Debug + Send + Sync {
    /// Recycles the slot of a regular sandbox: the slot opens its next sandbox.
    fn recycle(
        self: Arc<Self>,
        context: &Arc<SandboxContext>,
        reservation: Reservation,
        parts: ChannelParts,
    );

    /// Records that a slot is torn down with its sandbox.
    fn discard(&self, size: SandboxSize);
}

/// The parts of a context.
#[derive(Debug)]
pub(crate) struct ContextParts {
    pub(crate) allocator: Arc<ResourceAllocator>,
    pub(crate) slots: Arc<dyn SlotOwner>,
    pub(crate) resolver: Arc<EgressResolver>,
    /// The report of the engine, which the report of each command starts from.
    pub(crate) enforcement: Enforcement,
    pub(crate) drain_deadline: Duration,
}

/// The parts of an engine that its sandboxes use.
///
/// Dropped with the engine's last handle and last sandbox. The drop ends the spawners, and waits
/// for the teardown of their sandboxes.
#[derive(Debug)]
pub(crate) struct SandboxContext {
    pub(crate) allocator: Arc<ResourceAllocator>,
    pub(super) slots: Arc<dyn SlotOwner>,
    pub(super) resolver: Arc<EgressResolver>,
    pub(super) enforcement: Enforcement,
    pub(super) drain_deadline: Duration,
    pub(super) status_sampler: StatusSampler,
    reaper: Reaper,
}

impl SandboxContext {
    /// Creates the context of an engine.
    pub(crate) fn new(parts: ContextParts, reaper: Reaper) -> Self {
        let ContextParts { allocator, slots, resolver, enforcement, drain_deadline } = parts;
        Self {
            allocator,
            slots,
            resolver,
            enforcement,
            drain_deadline,
            status_sampler: StatusSampler::default(),
            reaper,
        }
    }

    /// Schedules the teardown of an ended sandbox.
    pub(crate) fn schedule_teardown(&self, remnants: Remnants) {
        self.allocator.note_dying(1);
        self.schedule_counted_teardown(remnants);
    }

    /// Schedules the teardown of a sandbox that is counted as dying.
    pub(crate) fn schedule_counted_teardown(&self, remnants: Remnants) {
        self.reaper.schedule_teardown(remnants);
    }

    /// Has the reaper refill the cache of ready sandboxes.
    pub(crate) fn request_refill(&self) {
        self.reaper.wake();
    }
}

impl Drop for SandboxContext {
    fn drop(&mut self) {
        // The end of the spawners ends every guest. Then the reaper can release their resources.
        self.allocator.stop_spawners();
        self.reaper.stop();
        // The auditor ends last: every stopped call has its answer, or its caller is dead.
        self.allocator.auditor().stop();
    }
}
