//! The creation of slots, and of the sandboxes in them.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use crucible_core::{EngineError, Network};
use crucible_guest::protocol::{FrameKind, Opened, PlanFlags, SandboxPlan, WireWriter};
use crucible_guest_client::Frame;
use crucible_guest_client::errors::{lost, protocol, setup};
use rustix::net::sockopt;

use super::ready_sandbox::ReadySandbox;
use crate::linux::channel::{FrameReader, send_blocking, socket_pair};
use crate::linux::resources::{Reservation, ResourceAllocator, SandboxSize, Slot};
use crate::linux::teardown::Remnants;

/// The time limit for the spawner to create a slot.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);
/// The flags of the namespaces that the slot keeps.
const SLOT_FLAGS: PlanFlags = PlanFlags::NEW_NETWORK
    .with(PlanFlags::ENTER_NETWORK)
    .with(PlanFlags::UTS)
    .with(PlanFlags::SINGLE_ID);
/// The flags of the layers that each sandbox in a slot has for itself.
const SANDBOX_FLAGS: PlanFlags = PlanFlags::IPC
    .with(PlanFlags::CGROUP)
    .with(PlanFlags::LANDLOCK)
    .with(PlanFlags::SINGLE_ID)
    .with(PlanFlags::INTO_CGROUP);

/// Creates a slot and opens its first sandbox. Blocks.
///
/// Adds the remnants of a failed attempt to `remnants`.
pub(super) fn create_slot(
    allocator: &ResourceAllocator,
    size: SandboxSize,
    remnants: &mut Vec<Remnants>,
) -> Result<ReadySandbox, EngineError> {
    let (ours, theirs) = socket_pair()?;
    sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(CREATE_TIMEOUT))
        .map_err(|error| setup("set a timeout on the spawner's socket", error))?;
    let mut reservation = allocator.reserve(size, &Network::None)?;
    let plan = allocator.plan(&reservation, size, &Network::None, false);
    let flags = plan.flags.only(SLOT_FLAGS).with(PlanFlags::SLOT);
    let plan = SandboxPlan { flags, tasks_files: 0, ..plan };
    if let Err(error) = allocator.spawn(&plan, &reservation, theirs.as_fd()) {
        remnants.push(Remnants::without_guest(reservation));
        return Err(error.into_error("making a slot"));
    }
    drop(theirs);
    let mut reader = FrameReader::new();
    let read = reader.next_blocking(ours.as_fd());
    let pidfd = reader.take_pidfd();
    reader.reset();
    match (read, pidfd) {
        (Ok(Some(Frame { kind: FrameKind::Opened, payload, .. })), Some(pidfd))
            if Opened::decode(&payload).is_ok() =>
        {
            reservation.slot = Some(Slot::new(pidfd, reader, size));
        }
        (_, pidfd) => {
            let channel = Some(ours);
            remnants.push(Remnants { reservation, guest: None, pidfd, channel, mounts: None });
            return Err(lost("making a slot", false));
        }
    }
    let sandbox = ReadySandbox { reservation, channel: ours };
    match open_next(allocator, &sandbox.reservation, sandbox.channel.as_fd()) {
        Ok(()) => {
            sandbox.open_counters();
            Ok(sandbox)
        }
        Err(error) => {
            remnants.push(sandbox.into_remnants());
            Err(error)
        }
    }
}

/// Requests the next sandbox from a slot without an open one.
pub(super) fn open_next(
    allocator: &ResourceAllocator,
    reservation: &Reservation,
    channel: BorrowedFd<'_>,
) -> Result<(), EngineError> {
    let Some(slot) = &reservation.slot else { return Err(protocol("there is no slot", false)) };
    let plan = allocator.plan(reservation, slot.size, &Network::None, false);
    let plan = SandboxPlan { flags: plan.flags.only(SANDBOX_FLAGS), ..plan };
    let mut payload = [0; 64];
    let mut writer = WireWriter::new(&mut payload);
    plan.encode(&mut writer).map_err(|_| protocol("a plan is too long", false))?;
    let mut fds = Vec::new();
    if let Some(group) = &reservation.group {
        fds.extend(group.clone_into());
        fds.extend(group.tasks());
    }
    send_blocking(channel, FrameKind::Next, 0, writer.written(), &fds)
}
