//! The recycling of slots: the sandbox in a slot exits, and the slot opens the next one.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crucible_guest::protocol::FrameKind;

use super::ready_sandbox::ReadySandbox;
use super::slot_factory::open_next;
use super::slot_pool::SlotPool;
use crate::linux::channel::{ChannelParts, FrameReader, GuestSocket};
use crate::linux::resources::{Reservation, SandboxSize, Slot};
use crate::linux::sandbox::{SandboxContext, SlotOwner};
use crate::linux::teardown::Remnants;

/// The time limit for the exit of a sandbox.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

impl SlotOwner for SlotPool {
    fn recycle(
        self: Arc<Self>,
        context: &Arc<SandboxContext>,
        reservation: Reservation,
        parts: ChannelParts,
    ) {
        SlotRecycler::new(self, context, reservation, parts).run();
    }

    fn discard(&self, size: SandboxSize) {
        self.pool.discard(&size);
    }
}

/// A slot during the exit of its sandbox. Dropping it tears the slot down.
struct SlotRecycler {
    slots: Arc<SlotPool>,
    context: Arc<SandboxContext>,
    /// `None` once the slot is back in the pool or its teardown is scheduled.
    exiting: Option<ExitingSandbox>,
}

/// A sandbox that exits, in its slot.
struct ExitingSandbox {
    reservation: Reservation,
    socket: GuestSocket,
    reader: FrameReader,
    guest: Option<u32>,
    pidfd: Option<OwnedFd>,
    /// The slot has reported that the sandbox is gone.
    has_exited: bool,
}

impl SlotRecycler {
    fn new(
        slots: Arc<SlotPool>,
        context: &Arc<SandboxContext>,
        reservation: Reservation,
        parts: ChannelParts,
    ) -> Self {
        let ChannelParts { socket, reader, guest, pidfd, has_exited, .. } = parts;
        context.allocator.note_dying(1);
        let exiting =
            Some(ExitingSandbox { reservation, socket, reader, guest, pidfd, has_exited });
        Self { slots, context: Arc::clone(context), exiting }
    }

    /// Opens the next sandbox, in the background if this one has not exited yet.
    fn run(mut self) {
        if self.exiting.as_ref().is_some_and(|exiting| exiting.has_exited) {
            self.renew();
        } else {
            // The end of the runtime drops the task, and with it the recycler.
            drop(tokio::spawn(async move {
                if self.wait_for_exit().await {
                    self.renew();
                }
            }));
        }
    }

    /// Waits until the sandbox has exited. Returns `false` if the exit was not confirmed.
    async fn wait_for_exit(&mut self) -> bool {
        let Some(exiting) = &mut self.exiting else { return false };
        let next = tokio::time::timeout(EXIT_TIMEOUT, exiting.reader.next(&exiting.socket));
        matches!(next.await, Ok(Ok(Some(frame))) if frame.kind == FrameKind::SandboxExited)
    }

    /// Has the slot open the next sandbox, and returns the slot to the pool.
    fn renew(&mut self) {
        let Some(mut exiting) = self.exiting.take() else { return };
        exiting.reader.reset();
        if !self.open_next(&mut exiting) {
            self.exiting = Some(exiting);
            return;
        }
        let ExitingSandbox { mut reservation, socket, reader, .. } = exiting;
        let Some(slot) = &mut reservation.slot else { return };
        slot.reader = reader;
        let size = slot.size;
        let channel = socket.into_inner();
        match self.slots.pool.give_back(&size, ReadySandbox { reservation, channel }) {
            None => self.context.allocator.note_recycled(),
            Some(unwanted) => self.context.schedule_counted_teardown(unwanted.into_remnants()),
        }
    }

    /// Requests the next sandbox. Returns `false` if the slot cannot open another one.
    fn open_next(&self, exiting: &mut ExitingSandbox) -> bool {
        let ExitingSandbox { reservation, socket, .. } = exiting;
        let allocator = &self.context.allocator;
        reservation.slot.as_mut().is_some_and(Slot::count_run)
            && allocator
                .renew_group(reservation)
                .inspect_err(|error| tracing::warn!(%error, "cannot reuse the cgroup of a slot"))
                .is_ok()
            && open_next(allocator, reservation, socket.as_fd())
                .inspect_err(|error| tracing::debug!(%error, "a slot has ended"))
                .is_ok()
    }
}

impl Drop for SlotRecycler {
    fn drop(&mut self) {
        let Some(exiting) = self.exiting.take() else { return };
        let ExitingSandbox { reservation, socket, guest, pidfd, .. } = exiting;
        if let Some(slot) = &reservation.slot {
            self.slots.discard(slot.size);
        }
        let channel = Some(socket.into_inner());
        let remnants = Remnants { reservation, guest, pidfd, channel, mounts: None };
        self.context.schedule_counted_teardown(remnants);
    }
}
