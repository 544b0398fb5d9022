//! Sandboxes that stand before anybody asks for them: whoever does need not wait for that. Each is used once, so that no
//! program ever finds anything of another's in it.

use std::os::fd::{AsFd as _, OwnedFd};

use crucible_core::{EngineError, Network};
use crucible_guest_client::errors::lost;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::cgroup::Group;
use super::holdings::Holdings;
use super::janitor::Remains;
use super::resources::{Resources, Size};
use super::sandbox::channel;
use super::spawner::SendError;

/// A sandbox that stands, or will in a moment, and in which nothing has run.
#[derive(Debug)]
pub(super) struct Preopened {
    pub(super) holdings: Holdings,
    /// Our end of the guest's channel, from which nothing has been read.
    pub(super) channel: OwnedFd,
}

impl Preopened {
    /// Asks for a sandbox. What one leaves that was not to be had is put with what is `left`.
    pub(super) fn open(
        resources: &Resources,
        size: Size,
        left: &mut Vec<Remains>,
    ) -> Result<Self, EngineError> {
        let (ours, theirs) = channel()?;
        let holdings = resources.take(size, &Network::None)?;
        let plan = resources.plan(&holdings, size, &Network::None, true);
        if let Err(error) = resources.ask_spawner(&plan, &holdings, theirs.as_fd()) {
            left.push(Remains::of_nobody(holdings));
            return Err(match error {
                SendError::Failed(error) => error,
                // The next sandbox that is asked for starts it again.
                SendError::Busy | SendError::Gone => lost("opening a sandbox", false),
            });
        }
        // What cannot be opened now is tried again when it is needed, and then its error is heard.
        let _opened = holdings.group.as_ref().map(Group::open_counters);
        Ok(Self { holdings, channel: ours })
    }

    /// Whether its guest lives, as far as can be seen without a word from it.
    pub(super) fn is_alive(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Its end of the channel is closed with it, which is seen whether it was asked for or not.
        matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
    }

    /// What is left of it if nobody uses it.
    pub(super) fn into_remains(self) -> Remains {
        let Self { holdings, channel } = self;
        Remains { holdings, guest: None, pidfd: None, channel: Some(channel), mounts: None }
    }
}
