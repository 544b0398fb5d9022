//! An ended sandbox on its way from the death of its guest to the release of its resources.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use crucible_guest::protocol::{FrameKind, Opened};
use crucible_guest_client::Frame;
use rustix::process::Signal;

use super::remnants::Remnants;
use crate::linux::audit::GuestId;
use crate::linux::cgroup::SandboxCgroup;
use crate::linux::channel::FrameReader;
use crate::linux::resources::{ResourceAllocator, Slot};
use crate::linux::sys::is_readable;

/// The time after which the log reports a dying guest as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// An ended sandbox with unreleased resources.
#[derive(Debug)]
pub(super) struct PendingTeardown {
    remnants: Remnants,
    since: Instant,
    /// The guest is dead or never existed. Only its groups may still be busy.
    is_dead: bool,
    /// The guest has an event, or was not checked for a while.
    has_event: bool,
    /// The log has reported the sandbox as stuck.
    is_reported: bool,
    reader: FrameReader,
}

impl PendingTeardown {
    /// Starts the teardown of a sandbox.
    pub(super) fn new(mut remnants: Remnants) -> Self {
        let slot = remnants.reservation.slot.as_mut();
        let reader = slot.map(|slot| std::mem::take(&mut slot.reader)).unwrap_or_default();
        let is_dead = remnants.pidfd.is_none()
            && remnants.channel.is_none()
            && remnants.reservation.slot.is_none();
        Self {
            remnants,
            since: Instant::now(),
            is_dead,
            has_event: true,
            is_reported: false,
            reader,
        }
    }

    /// Returns `true` if the guest is known to be dead.
    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Records whether the next [`has_died`](Self::has_died) has to check the guest.
    pub(super) fn set_event(&mut self, has_event: bool) {
        self.has_event = has_event;
    }

    /// Returns the descriptor that reports the end of the guest or of its slot, or `None` if both
    /// are dead.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        let remnants = &self.remnants;
        let guest = remnants.pidfd.as_ref().or(remnants.channel.as_ref()).map(|fd| fd.as_fd());
        let slot = remnants.reservation.slot.as_ref().map(Slot::process);
        // The pidfd of a dead guest stays readable. Polling it would never wait for the slot.
        let is_pending = |fd: &BorrowedFd<'_>| slot.is_none() || !is_readable(*fd);
        guest.filter(is_pending).or(slot).filter(|_| !self.is_dead)
    }

    /// Returns `true` if the guest has died; kills it otherwise.
    pub(super) fn has_died(&mut self) -> bool {
        if !self.is_dead && self.has_event {
            self.read_pidfd();
            self.is_dead = self.kill();
        }
        if !self.is_reported && self.since.elapsed() > STUCK_AFTER {
            self.is_reported = true;
            let group = self.group().map(SandboxCgroup::describe).unwrap_or_default();
            tracing::error!(
                group,
                "a sandbox does not die: a process may be in an uninterruptible sleep"
            );
        }
        self.is_dead
    }

    /// Reads the guest's pidfd from its channel, if no earlier owner of the channel did.
    fn read_pidfd(&mut self) {
        while self.remnants.pidfd.is_none() {
            let Some(channel) = &self.remnants.channel else { return };
            if !is_readable(channel.as_fd()) {
                return;
            }
            let read = self.reader.next_blocking(channel.as_fd());
            if let Ok(Some(Frame { kind: FrameKind::Opened, id: 0, payload })) = &read {
                self.remnants.guest = Opened::decode(payload).ok().map(|opened| opened.pid);
            }
            let has_ended = !matches!(read, Ok(Some(_)));
            self.remnants.pidfd = self.reader.take_pidfd();
            if has_ended {
                // No process holds the other end of the channel.
                self.remnants.channel = None;
                self.is_dead = self.remnants.pidfd.is_none();
            }
        }
    }

    /// Returns `true` if the guest and its slot are dead, and kills them otherwise. The guest is
    /// process 1, so every process of the sandbox dies with it.
    fn kill(&self) -> bool {
        let is_dead = |process: BorrowedFd<'_>| {
            if is_readable(process) {
                return true;
            }
            if let Some(group) = self.group() {
                group.kill();
            }
            // The process may have died since the check.
            let _killed = rustix::process::pidfd_send_signal(process, Signal::KILL);
            false
        };
        let guest = self.remnants.pidfd.as_ref().map(|pidfd| is_dead(pidfd.as_fd()));
        let slot = self.remnants.reservation.slot.as_ref().map(|slot| is_dead(slot.process()));
        match (guest, slot) {
            (None, None) => self.is_dead,
            // The end of its slot ends a guest. The pidfd of a guest that just started is unknown.
            (guest, slot) => guest != Some(false) && slot != Some(false),
        }
    }

    /// Releases the resources of the dead sandbox. Returns `false` if a process still runs in its
    /// cgroup.
    pub(super) fn release(&mut self, allocator: &ResourceAllocator) -> bool {
        // The cgroup is charged for the file system's memory until the mounts are gone.
        self.remnants.mounts = None;
        let Remnants { reservation, guest, pidfd, .. } = &mut self.remnants;
        let guest = || GuestId::new((*guest)?, pidfd.as_ref()?.as_fd());
        let Err(error) = allocator.release(reservation, guest) else { return true };
        if error.raw_os_error() != Some(libc::EBUSY) && !self.is_reported {
            self.is_reported = true;
            let group = self.group().map(SandboxCgroup::describe);
            tracing::error!(group, %error, "cannot remove a cgroup");
        }
        false
    }

    fn group(&self) -> Option<&SandboxCgroup> {
        self.remnants.reservation.group.as_ref()
    }
}
