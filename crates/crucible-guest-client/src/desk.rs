//! Where answers wait for whoever asked, and what a guest has said about itself.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crucible_core::EngineError;
use crucible_guest::protocol::{CgroupCounts, Failure, FrameKind, Layers, Ready, VERSION};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::errors::{failed_step, protocol};
use crate::frames::Frame;

/// The most frames that wait for one who asked. A guest that answers more to one question is none of ours.
const WAITING_MAX: usize = 64;
/// By how much each question adds to the frames that may come for those who asked and did not wait: what may wait.
const STRAYS_A_QUESTION: u32 = 64;
/// The most of these, however many have asked.
const STRAY_MAX: u32 = 4096;

/// How a conversation ended.
#[derive(Debug)]
pub enum Disconnected {
    /// The guest side is gone.
    Gone,
    /// A step of making the sandbox failed, or the guest broke the protocol.
    Error(EngineError),
}

/// An open question: answers to it wait at the desk until they are taken, and are dropped with it.
#[derive(Debug)]
pub struct PendingRequest<'a> {
    desk: &'a ResponseRouter,
    id: u32,
}

impl PendingRequest<'_> {
    /// What the request is to be numbered with.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.desk.inboxes().remove(&self.id);
    }
}

/// Where answers wait for whoever asked.
///
/// Several may ask at once: a file can be read while a command runs. There is no task that reads: whoever waits for an
/// answer reads for all, and puts what is not for him here, where the others find it.
#[derive(Debug, Default)]
pub struct ResponseRouter {
    inboxes: Mutex<HashMap<u32, VecDeque<Frame>>>,
    /// Something was put into an inbox, or the conversation has ended.
    news: Notify,
    /// The last id that was given out.
    last_id: AtomicU32,
    /// The first failure of a request that is not answered otherwise.
    unasked: Mutex<Option<Frame>>,
    /// How many more frames may come for those who have gone. A guest without such a bound could keep whoever reads busy
    /// for ever, so that no deadline is looked at.
    strays_left: AtomicU32,
    /// Input files on their way, by the id of their request.
    inputs: Mutex<HashMap<u32, String>>,
    ready: OnceLock<Greeting>,
    /// A step of making the sandbox that failed.
    failed: OnceLock<Failure>,
    /// Two sides may both have failed, one because of the other.
    failed_too: OnceLock<()>,
    broke_protocol: OnceLock<String>,
    ended: AtomicBool,
}

/// What a guest said when its sandbox stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The layers that it has put on itself, see [`Ready`].
    pub layers: Layers,
    /// What its cgroup had counted by then.
    pub counted: CgroupCounts,
    /// Its own status file (proc(5)).
    pub status: Vec<u8>,
}

impl ResponseRouter {
    /// A desk at which nobody has asked anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<u32, VecDeque<Frame>>> {
        // Plain queues, consistent between statements.
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many frames wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inboxes().values().map(VecDeque::len).sum()
    }

    /// Resolves at the next news. Whoever looks whether there are any has to [enable](Notified::enable) it before.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Says that there are news: what is not put at the desk itself may have come.
    pub fn notify(&self) {
        self.news.notify_waiters();
    }

    /// Opens a question with an id of its own.
    #[must_use]
    pub fn ask(&self) -> PendingRequest<'_> {
        PendingRequest { desk: self, id: self.expect() }
    }

    /// Expects answers under an id of its own, which stays open until somebody [takes it up](Self::take_up). The first id is 1: what was
    /// sent under it before there was this desk is answered here.
    #[must_use]
    pub fn expect(&self) -> u32 {
        // 0 is for what nobody asked for. Four thousand million questions later an id comes again.
        let id = loop {
            let id = self.last_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if id != 0 && !self.inboxes().contains_key(&id) {
                break id;
            }
        };
        self.inboxes().insert(id, VecDeque::new());
        let more = |left: u32| Some(left.saturating_add(STRAYS_A_QUESTION).min(STRAY_MAX));
        let _before = self.strays_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        id
    }

    /// The question whose answers were [expected](Self::expect).
    #[must_use]
    pub fn take_up(&self, id: u32) -> PendingRequest<'_> {
        self.inboxes().entry(id).or_default();
        PendingRequest { desk: self, id }
    }

    /// Whether a frame of one of these kinds waits for whoever asked.
    #[must_use]
    pub fn has_heard(&self, id: u32, kinds: &[FrameKind]) -> bool {
        self.inboxes()
            .get(&id)
            .is_some_and(|inbox| inbox.iter().any(|frame| kinds.contains(&frame.kind)))
    }

    pub(crate) fn take(&self, question: &PendingRequest<'_>) -> Option<Frame> {
        self.inboxes().get_mut(&question.id).and_then(VecDeque::pop_front)
    }

    /// Puts a frame where whoever asked finds it.
    pub fn put(&self, frame: Frame) {
        let mut inboxes = self.inboxes();
        let fits = match inboxes.get_mut(&frame.id) {
            Some(inbox) if inbox.len() < WAITING_MAX => {
                inbox.push_back(frame);
                true
            }
            Some(_) => false,
            // Whoever asked has gone, or wanted to hear of a failure only.
            None => {
                let known = frame.id <= self.last_id.load(Ordering::Relaxed);
                if frame.kind == FrameKind::Failed && known {
                    self.unasked
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(frame);
                }
                let fewer = |left: u32| left.checked_sub(1);
                let taken =
                    self.strays_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
                known && taken.is_ok()
            }
        };
        drop(inboxes);
        if fits {
            self.notify();
        } else {
            self.note_broken("it answers what nobody asked");
        }
    }

    /// A frame that answers a request to which no answer is expected: a quiet one that failed.
    #[must_use]
    pub fn take_unasked(&self) -> Option<Frame> {
        self.unasked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn note_input(&self, id: u32, path: String) {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, path);
    }

    pub(crate) fn input(&self, id: u32) -> Option<String> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Takes note of a greeting. It is given once.
    pub fn note_ready(&self, payload: &[u8]) {
        match Ready::decode(payload) {
            Ok(ready) if ready.version == VERSION => {
                let Ready { layers, counted, status, .. } = ready;
                let greeting = Greeting { layers, counted, status: status.to_vec() };
                match self.ready.set(greeting) {
                    Ok(()) => self.notify(),
                    Err(_) => self.note_broken("it greets twice"),
                }
            }
            Ok(ready) => {
                self.note_broken(&format!("it speaks version {} of the protocol", ready.version))
            }
            Err(_) => self.note_broken("its greeting is malformed"),
        }
    }

    /// Takes note of a step of making the sandbox that failed.
    pub fn note_failed(&self, payload: &[u8]) {
        match Failure::decode(payload) {
            Ok(failure) if self.failed.set(failure).is_ok() => {}
            Ok(_) if self.failed_too.set(()).is_ok() => {}
            Ok(_) => self.note_broken("it fails again and again"),
            Err(_) => self.note_broken("its error is malformed"),
        }
    }

    /// The conversation has ended.
    pub fn note_end(&self) {
        self.ended.store(true, Ordering::Release);
        self.notify();
    }

    /// The guest has said what it may not, which ends the conversation.
    pub fn note_broken(&self, what: &str) {
        let _only_the_first = self.broke_protocol.set(what.to_owned());
        self.note_end();
    }

    /// What the guest said when the sandbox stood, if it has.
    #[must_use]
    pub fn greeting(&self) -> Option<&Greeting> {
        self.ready.get()
    }

    /// Whether the conversation has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the guest has said what it may not.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broke_protocol.get().is_some()
    }

    /// Why the conversation has ended.
    #[must_use]
    pub fn end(&self) -> Disconnected {
        if let Some(failure) = self.failed.get() {
            return Disconnected::Error(failed_step(*failure));
        }
        match self.broke_protocol.get() {
            Some(what) => Disconnected::Error(protocol(what.clone(), false)),
            None => Disconnected::Gone,
        }
    }
}
