//! The routing of responses to requests, and the state that a guest reports about itself.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crucible_guest::protocol::{CgroupCounts, Failure, FrameKind, Layers, Ready, VERSION};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::errors::{Disconnected, failed_step, protocol};
use crate::frame_decoder::Frame;

/// The maximum number of frames that wait for one request. A guest that exceeds it has broken the
/// protocol.
const QUEUED_MAX: usize = 64;
/// The number of late frames (responses to dropped requests) that each request allows.
const LATE_FRAMES_PER_REQUEST: u32 = 64;
/// The maximum allowance for late frames, regardless of the number of requests.
const LATE_FRAMES_MAX: u32 = 4096;

/// An open request. Its responses wait in the router until they are taken, and are discarded when
/// it is dropped.
#[derive(Debug)]
pub struct PendingRequest<'a> {
    router: &'a ResponseRouter,
    id: u32,
}

impl PendingRequest<'_> {
    /// Returns the id of the request.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.router.inboxes().remove(&self.id);
    }
}

/// Routes the responses of one guest to their requests.
///
/// Several requests may be open at the same time: a file can be read while a command runs. No task
/// is dedicated to reading. Each task that waits for a response reads frames, and delivers the
/// frames of other requests here.
#[derive(Debug, Default)]
pub struct ResponseRouter {
    inboxes: Mutex<HashMap<u32, VecDeque<Frame>>>,
    /// Notified when a frame is delivered and when the guest disconnects.
    deliveries: Notify,
    last_id: AtomicU32,
    /// The first failure of a request that has no other response.
    quiet_failure: Mutex<Option<Frame>>,
    /// The number of late frames that are still accepted. Without this bound a guest could keep a
    /// reading task busy forever, so that no deadline is checked.
    late_frames_left: AtomicU32,
    /// The paths of input files in transit, by request id.
    inputs: Mutex<HashMap<u32, String>>,
    greeting: OnceLock<Greeting>,
    /// The setup step that failed.
    setup_failure: OnceLock<Failure>,
    /// Set by a second failure: two sides may fail, one because of the other.
    second_failure: OnceLock<()>,
    protocol_error: OnceLock<String>,
    disconnected: AtomicBool,
}

/// The message that reports a ready sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The layers that the guest has applied to itself, see [`Ready`].
    pub layers: Layers,
    /// The counters of its cgroup at that time.
    pub counted: CgroupCounts,
    /// The guest's own status file (proc(5)).
    pub status: Vec<u8>,
}

impl ResponseRouter {
    /// Creates a router without open requests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<u32, VecDeque<Frame>>> {
        // The queues are consistent between statements.
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of frames that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.inboxes().values().map(VecDeque::len).sum()
    }

    /// Returns a future that resolves at the next delivery. [Enable](Notified::enable) it before
    /// checking for frames.
    pub(crate) fn next_delivery(&self) -> Notified<'_> {
        self.deliveries.notified()
    }

    /// Wakes every waiting task, after a change outside of the router.
    pub fn notify(&self) {
        self.deliveries.notify_waiters();
    }

    /// Opens a request with an unused id.
    #[must_use]
    pub fn open_request(&self) -> PendingRequest<'_> {
        PendingRequest { router: self, id: self.reserve_request() }
    }

    /// Opens a request that stays open until it is [resumed](Self::resume_request) and dropped.
    /// Returns its id.
    ///
    /// The first id is 1. So a request that was sent with id 1 before the router existed gets its
    /// responses here.
    #[must_use]
    pub fn reserve_request(&self) -> u32 {
        // Id 0 marks messages about the sandbox itself. Ids repeat after 2^32 requests.
        let id = loop {
            let id = self.last_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if id != 0 && !self.inboxes().contains_key(&id) {
                break id;
            }
        };
        self.inboxes().insert(id, VecDeque::new());
        let more =
            |left: u32| Some(left.saturating_add(LATE_FRAMES_PER_REQUEST).min(LATE_FRAMES_MAX));
        let _before =
            self.late_frames_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        id
    }

    /// Returns the request with a [reserved](Self::reserve_request) id.
    #[must_use]
    pub fn resume_request(&self, id: u32) -> PendingRequest<'_> {
        self.inboxes().entry(id).or_default();
        PendingRequest { router: self, id }
    }

    /// Returns `true` if a response of one of these kinds waits for the request.
    #[must_use]
    pub fn has_response(&self, id: u32, kinds: &[FrameKind]) -> bool {
        self.inboxes()
            .get(&id)
            .is_some_and(|inbox| inbox.iter().any(|frame| kinds.contains(&frame.kind)))
    }

    pub(crate) fn take(&self, request: &PendingRequest<'_>) -> Option<Frame> {
        self.inboxes().get_mut(&request.id).and_then(VecDeque::pop_front)
    }

    /// Delivers a frame to its request.
    pub fn deliver(&self, frame: Frame) {
        let mut inboxes = self.inboxes();
        let is_accepted = match inboxes.get_mut(&frame.id) {
            Some(inbox) if inbox.len() < QUEUED_MAX => {
                inbox.push_back(frame);
                true
            }
            Some(_) => false,
            None => self.accept_late(frame),
        };
        drop(inboxes);
        if is_accepted {
            self.notify();
        } else {
            self.record_protocol_error("it answers a request that was not sent");
        }
    }

    /// Accepts a late frame: its request was dropped, or waits for failures only. Returns `false`
    /// if the frame violates the protocol.
    fn accept_late(&self, frame: Frame) -> bool {
        let known = frame.id <= self.last_id.load(Ordering::Relaxed);
        if frame.kind == FrameKind::Failed && known {
            self.quiet_failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(frame);
        }
        let fewer = |left: u32| left.checked_sub(1);
        let taken = self.late_frames_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        known && taken.is_ok()
    }

    /// Takes the first failure of a quiet request, which has no response on success.
    #[must_use]
    pub fn take_quiet_failure(&self) -> Option<Frame> {
        self.quiet_failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn record_input(&self, id: u32, path: String) {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, path);
    }

    pub(crate) fn input(&self, id: u32) -> Option<String> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Records the greeting. A guest sends it once.
    pub fn record_greeting(&self, payload: &[u8]) {
        match Ready::decode(payload) {
            Ok(ready) if ready.version == VERSION => {
                let Ready { layers, counted, status, .. } = ready;
                let greeting = Greeting { layers, counted, status: status.to_vec() };
                match self.greeting.set(greeting) {
                    Ok(()) => self.notify(),
                    Err(_) => self.record_protocol_error("it greets twice"),
                }
            }
            Ok(ready) => self.record_protocol_error(&format!(
                "it speaks version {} of the protocol",
                ready.version
            )),
            Err(_) => self.record_protocol_error("its greeting is malformed"),
        }
    }

    /// Records a failed setup step.
    pub fn record_setup_failure(&self, payload: &[u8]) {
        match Failure::decode(payload) {
            Ok(failure) if self.setup_failure.set(failure).is_ok() => {}
            Ok(_) if self.second_failure.set(()).is_ok() => {}
            Ok(_) => self.record_protocol_error("it reports more than two failures"),
            Err(_) => self.record_protocol_error("its error is malformed"),
        }
    }

    /// Records that the guest has disconnected.
    pub fn record_end(&self) {
        self.disconnected.store(true, Ordering::Release);
        self.notify();
    }

    /// Records that the guest broke the protocol, which ends the connection. The first error is
    /// kept.
    pub fn record_protocol_error(&self, what: &str) {
        let _only_the_first = self.protocol_error.set(what.to_owned());
        self.record_end();
    }

    /// Returns the greeting of the guest, once it has arrived.
    #[must_use]
    pub fn greeting(&self) -> Option<&Greeting> {
        self.greeting.get()
    }

    /// Returns `true` if the guest has disconnected.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.disconnected.load(Ordering::Acquire)
    }

    /// Returns `true` if the guest broke the protocol.
    #[must_use]
    pub fn has_protocol_error(&self) -> bool {
        self.protocol_error.get().is_some()
    }

    /// Returns the reason why the guest has disconnected.
    #[must_use]
    pub fn disconnect_reason(&self) -> Disconnected {
        if let Some(failure) = self.setup_failure.get() {
            return Disconnected::Error(failed_step(*failure));
        }
        match self.protocol_error.get() {
            Some(what) => Disconnected::Error(protocol(what.clone(), false)),
            None => Disconnected::Gone,
        }
    }
}
