//! A slot: a process outside of every sandbox that keeps user, network and UTS namespaces, and opens sandboxes in them, one after another.
//! Each has pid, mount and IPC namespaces, files, processes and counters of its own.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use crucible_core::{EngineError, Network};
use crucible_guest::protocol::{FrameKind, Opened, PlanFlags, SandboxPlan, WireWriter};
use crucible_guest_client::Frame;
use crucible_guest_client::errors::{lost, protocol, setup};
use rustix::net::sockopt;

use super::cgroup::Group;
use super::frames::{FrameReader, send_blocking};
use super::holdings::Holdings;
use super::janitor::Remains;
use super::preopen::Preopened;
use super::resources::{Resources, Size};
use super::sandbox::channel;
use super::spawner::SendError;

/// How long the spawner may take to make one.
const MADE_WITHIN: Duration = Duration::from_secs(10);
/// How many sandboxes a slot opens before another takes its place: whatever the kernel may keep in its namespaces does not add up.
const RUNS_MAX: u32 = 1000;
/// What is the slot's: everything else is each sandbox's own.
const KEPT: PlanFlags = PlanFlags::NEW_NETWORK
    .with(PlanFlags::ENTER_NETWORK)
    .with(PlanFlags::UTS)
    .with(PlanFlags::SINGLE_ID);
/// What a sandbox in a slot has of its own.
const OWN: PlanFlags = PlanFlags::IPC
    .with(PlanFlags::CGROUP)
    .with(PlanFlags::LANDLOCK)
    .with(PlanFlags::SINGLE_ID)
    .with(PlanFlags::INTO_CGROUP);

/// A slot, while a sandbox is open in it.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its process, which ends with our end of its channel.
    pidfd: OwnedFd,
    /// What has been read from its channel and was not looked at, while nobody reads.
    pub(super) reader: FrameReader,
    pub(super) size: Size,
    runs: u32,
    /// On whose behalf it was used last, where that matters.
    pub(super) tenant: Option<String>,
}

impl Slot {
    /// Makes a slot, and opens its first sandbox. What one leaves that was not to be had is put with what is `left`. Blocks.
    pub(super) fn make(
        resources: &Resources,
        size: Size,
        left: &mut Vec<Remains>,
    ) -> Result<Preopened, EngineError> {
        let (ours, theirs) = channel()?;
        sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(MADE_WITHIN))
            .map_err(|error| setup("bound the spawner's answers", error))?;
        let mut holdings = resources.take(size, &Network::None)?;
        let plan = resources.plan(&holdings, size, &Network::None, false);
        let plan = SandboxPlan {
            flags: plan.flags.only(KEPT).with(PlanFlags::SLOT),
            tasks_files: 0,
            ..plan
        };
        if let Err(error) = resources.ask_spawner(&plan, &holdings, theirs.as_fd()) {
            left.push(Remains::of_nobody(holdings));
            return Err(match error {
                SendError::Failed(error) => error,
                // The next sandbox that is asked for starts it again.
                SendError::Busy | SendError::Gone => lost("making a slot", false),
            });
        }
        drop(theirs);
        let mut reader = FrameReader::new();
        let read = reader.next_blocking(ours.as_fd());
        let pidfd = reader.take_pidfd();
        reader.begin_anew();
        match (read, pidfd) {
            (Ok(Some(Frame { kind: FrameKind::Opened, payload, .. })), Some(pidfd))
                if Opened::decode(&payload).is_ok() =>
            {
                holdings.slot = Some(Slot { pidfd, reader, size, runs: 0, tenant: None });
            }
            (_, pidfd) => {
                let channel = Some(ours);
                left.push(Remains { holdings, guest: None, pidfd, channel, mounts: None });
                return Err(lost("making a slot", false));
            }
        }
        let sandbox = Preopened { holdings, channel: ours };
        match next(resources, &sandbox.holdings, sandbox.channel.as_fd()) {
            Ok(()) => {
                // What cannot be opened now is tried again when it is needed, and then its error is heard.
                let _opened = sandbox.holdings.group.as_ref().map(Group::open_counters);
                Ok(sandbox)
            }
            Err(error) => {
                left.push(sandbox.into_remains());
                Err(error)
            }
        }
    }

    /// Counts a sandbox that has ended; `false` if it was to be the last.
    pub(super) fn count(&mut self) -> bool {
        self.runs += 1;
        self.runs < RUNS_MAX
    }

    /// Its process.
    pub(super) fn process(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Has a slot in which nothing is open open the next sandbox.
pub(super) fn next(
    resources: &Resources,
    holdings: &Holdings,
    channel: BorrowedFd<'_>,
) -> Result<(), EngineError> {
    let Some(slot) = &holdings.slot else { return Err(protocol("there is no slot", false)) };
    let plan = resources.plan(holdings, slot.size, &Network::None, false);
    let plan = SandboxPlan { flags: plan.flags.only(OWN), ..plan };
    let mut payload = [0; 64];
    let mut writer = WireWriter::new(&mut payload);
    plan.encode(&mut writer).map_err(|_| protocol("a plan is too long", false))?;
    let mut fds = Vec::new();
    if let Some(group) = &holdings.group {
        fds.extend(group.born_in());
        fds.extend(group.tasks());
    }
    send_blocking(channel, FrameKind::Next, 0, writer.written(), &fds)
}
