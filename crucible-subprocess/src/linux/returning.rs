//! A slot on its way back: the sandbox in it ends, and the next takes its place.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crucible_guest::protocol::FrameKind;

use super::cgroup::{Group, Pool};
use super::engine::Inner;
use super::frames::FrameReader;
use super::holdings::Holdings;
use super::janitor::Remains;
use super::link::Parts;
use super::preopen::Preopened;
use super::slot::{self, Slot};
use super::socket::Socket;

/// How long the last of a sandbox may take.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// A slot whose sandbox ends. Dropped on the way, it is ended as a whole.
pub(super) struct Returning {
    inner: Arc<Inner>,
    /// `None` once it is somebody else's.
    rest: Option<Rest>,
}

struct Rest {
    holdings: Holdings,
    socket: Socket,
    reader: FrameReader,
    guest: Option<u32>,
    pidfd: Option<OwnedFd>,
    /// The slot has said that nothing of the sandbox is left.
    is_gone: bool,
}

impl Returning {
    pub(super) fn new(inner: &Arc<Inner>, holdings: Holdings, parts: Parts) -> Self {
        let Parts { socket, reader, guest, pidfd, is_gone, .. } = parts;
        inner.resources().dying.fetch_add(1, Ordering::Relaxed);
        let rest = Some(Rest { holdings, socket, reader, guest, pidfd, is_gone });
        Self { inner: Arc::clone(inner), rest }
    }

    /// Waits in the background, if anything is to be waited for.
    pub(super) fn go_on(mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.is_gone) {
            self.renew();
        } else {
            // Where the runtime ends before, it is dropped.
            drop(tokio::spawn(async move {
                if self.wait().await {
                    self.renew();
                }
            }));
        }
    }

    /// Waits until nothing of the sandbox is left; `false` if that did not come to pass.
    async fn wait(&mut self) -> bool {
        let Some(rest) = &mut self.rest else { return false };
        let next = tokio::time::timeout(GONE_WITHIN, rest.reader.next(&rest.socket));
        matches!(next.await, Ok(Ok(Some(frame))) if frame.kind == FrameKind::SandboxExited)
    }

    /// Has the slot open the next sandbox, and puts it where others find it.
    fn renew(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        let resources = self.inner.resources();
        rest.reader.begin_anew();
        let renew = |pool: &Pool, group: &mut Option<Group>| {
            let renewed = pool.renew(group);
            renewed
                .inspect_err(|error| tracing::warn!(%error, "a slot's cgroup cannot be used again"))
                .is_ok()
        };
        let ready = rest.holdings.slot.as_mut().is_some_and(Slot::count)
            && resources.pool.as_ref().is_none_or(|pool| renew(pool, &mut rest.holdings.group))
            && slot::next(resources, &rest.holdings, rest.socket.as_fd())
                .inspect_err(|error| tracing::debug!(%error, "a slot has ended"))
                .is_ok();
        if !ready {
            self.rest = Some(rest);
            return;
        }
        let Rest { mut holdings, socket, reader, .. } = rest;
        let Some(slot) = &mut holdings.slot else { return };
        slot.reader = reader;
        let size = slot.size;
        let channel = socket.into_inner();
        match resources.slots.pool.give_back(&size, Preopened { holdings, channel }) {
            None => {
                resources.dying.fetch_sub(1, Ordering::Relaxed);
            }
            Some(unwanted) => self.inner.bury_dying(unwanted.into_remains()),
        }
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        let Some(Rest { holdings, socket, guest, pidfd, .. }) = self.rest.take() else { return };
        if let Some(slot) = &holdings.slot {
            self.inner.resources().slots.pool.discard(&slot.size);
        }
        let channel = Some(socket.into_inner());
        self.inner.bury_dying(Remains { holdings, guest, pidfd, channel, mounts: None });
    }
}
