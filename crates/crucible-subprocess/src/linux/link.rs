//! The channel to one guest: requests out, answers to whoever asked.
//!
//! Several may ask at once: a file can be read while a command runs. There is no task that reads: whoever waits for an
//! answer reads for all, and puts what is not for him where the others find it.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crucible_core::EngineError;
use crucible_guest::protocol::{Failure, FrameKind, HEADER_SIZE, Header, Opened, VERSION, Writer};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, Notify};

use super::errors::{failed_step, protocol, setup};
use super::frames::{Frame, FrameReader, ReadError};
use super::sys;
use super::violations::Guest;

/// The most frames that wait for one who asked. A guest that answers more to one question is none of ours.
const WAITING_MAX: usize = 64;
/// By how much each question adds to the frames that may come for those who asked and did not wait: what may wait.
const STRAYS_A_QUESTION: u32 = 64;
/// The most of these, however many have asked.
const STRAY_MAX: u32 = 4096;
/// How long the last words of a guest to which nothing can be sent any more are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The channel to one guest.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    /// Frames must not be mixed.
    writing: Mutex<()>,
    reading: Mutex<FrameReader>,
    inboxes: SyncMutex<HashMap<u32, VecDeque<Frame>>>,
    /// Something was put into an inbox, or the link has ended.
    news: Notify,
    next_id: AtomicU32,
    /// The first failure of a request that is not answered otherwise.
    unasked: SyncMutex<Option<Frame>>,
    /// How many more frames may come for those who have gone. A guest without such a bound could keep whoever reads busy
    /// for ever, so that no deadline is looked at.
    strays_left: AtomicU32,
    state: State,
}

/// What the guest side has said about itself.
#[derive(Debug, Default)]
struct State {
    guest: OnceLock<Life>,
    /// The guest's process id, as the spawner and this process see it: the spawner's word, before the guest can say any.
    guest_pid: OnceLock<u32>,
    ready: OnceLock<()>,
    /// The way out, until somebody takes it.
    door: SyncMutex<Option<OwnedFd>>,
    /// A step of making the sandbox that failed.
    failed: OnceLock<Failure>,
    /// The spawner and the guest may both have failed, one because of the other.
    failed_too: OnceLock<()>,
    broke_protocol: OnceLock<String>,
    ended: AtomicBool,
}

/// The guest's pidfd. It is registered with the runtime early, while the guest has enough to do.
#[derive(Debug)]
enum Life {
    Watched(AsyncFd<OwnedFd>),
    /// The runtime could not.
    Unwatched(OwnedFd),
}

impl Life {
    fn watch(pidfd: OwnedFd) -> Self {
        match sys::watch(pidfd) {
            Ok(watched) => Self::Watched(watched),
            Err((pidfd, error)) => {
                tracing::error!(%error, "a guest's end cannot be watched");
                Self::Unwatched(pidfd)
            }
        }
    }
}

/// What is left of a link.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) stream: UnixStream,
    /// The guest's process id, if anyone learnt of it.
    pub(super) guest: Option<u32>,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) mounts: Option<OwnedFd>,
}

/// How the link ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The guest side is gone.
    Gone,
    /// A step of making the sandbox failed, or the guest broke the protocol.
    Error(EngineError),
}

/// An open question: answers to it wait here until they are taken, and are dropped with it.
#[derive(Debug)]
pub(super) struct Question<'a> {
    link: &'a Link,
    pub(super) id: u32,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.link.inboxes().remove(&self.id);
    }
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            writing: Mutex::new(()),
            reading: Mutex::new(FrameReader::new()),
            inboxes: SyncMutex::default(),
            news: Notify::new(),
            next_id: AtomicU32::new(1),
            unasked: SyncMutex::new(None),
            strays_left: AtomicU32::new(0),
            state: State::default(),
        }
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<u32, VecDeque<Frame>>> {
        // Plain queues, consistent between statements.
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's pidfd, once the spawner has sent it.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.state.guest.get().map(|life| match life {
            Life::Watched(pidfd) => pidfd.get_ref().as_fd(),
            Life::Unwatched(pidfd) => pidfd.as_fd(),
        })
    }

    /// The guest, as violations are counted for it.
    pub(super) fn guest(&self) -> Option<Guest> {
        Guest::new(*self.state.guest_pid.get()?, self.pidfd()?)
    }

    /// Waits until the guest has died, and everything of the sandbox with it. For ever, if nobody has learnt of a guest.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn died(&self) {
        if let Some(Life::Watched(pidfd)) = self.state.guest.get()
            && pidfd.readable().await.is_ok()
        {
            // A pidfd stays readable.
            return;
        }
        std::future::pending().await
    }

    /// Whether the guest has died, or dies within `patience`. Blocks the thread for as long.
    pub(super) fn dies_within(&self, patience: Duration) -> bool {
        let Some(pidfd) = self.pidfd() else { return false };
        let Ok(patience) = Timespec::try_from(patience) else { return false };
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        // An interrupted wait tells nothing, as one that was too short.
        matches!(rustix::event::poll(&mut fds, Some(&patience)), Ok(1..))
    }

    /// Opens a question with an id of its own.
    pub(super) fn ask(&self) -> Question<'_> {
        // 0 is for what nobody asked for. Four thousand million questions later an id comes again.
        let id = loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            if id != 0 && !self.inboxes().contains_key(&id) {
                break id;
            }
        };
        self.inboxes().insert(id, VecDeque::new());
        let more = |left: u32| Some(left.saturating_add(STRAYS_A_QUESTION).min(STRAY_MAX));
        let _before = self.strays_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        Question { link: self, id }
    }

    /// Sends a frame whose payload is `head` and then `body`, and descriptors along with its first byte.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of a frame on the way: the link is of no use then.
    pub(super) async fn send(
        &self,
        kind: FrameKind,
        id: u32,
        head: &[u8],
        body: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), Ended> {
        let length = u32::try_from(head.len() + body.len())
            .map_err(|_| Ended::Error(protocol("a request is too long", false)))?;
        let mut header = [0; HEADER_SIZE];
        let encoded = Header { kind, id, length }.encode(&mut Writer::new(&mut header));
        encoded.map_err(|_| Ended::Error(protocol("a header does not fit", false)))?;
        let _turn = self.writing.lock().await;
        let mut parts = [&header[..], head, body];
        let mut fds = fds;
        while parts.iter().any(|part| !part.is_empty()) {
            let sent = self.stream.async_io(Interest::WRITABLE, || self.send_some(&parts, fds)).await;
            let mut sent = match sent {
                Ok(count) => count,
                Err(error) if is_gone(&error) => return Err(self.why_ended().await),
                Err(error) => return Err(Ended::Error(setup("talk to the guest", error))),
            };
            fds = &[];
            for part in &mut parts {
                let of_part = sent.min(part.len());
                *part = part.get(of_part..).unwrap_or_default();
                sent -= of_part;
            }
        }
        Ok(())
    }

    fn send_some(&self, parts: &[&[u8]; 3], fds: &[BorrowedFd<'_>]) -> std::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
        }
        let slices = parts.map(IoSlice::new);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(self.stream.as_fd(), &slices, &mut control, flags)
        })?;
        Ok(sent)
    }

    /// The next answer to a question.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    pub(super) async fn answer(&self, question: &Question<'_>) -> Result<Frame, Ended> {
        loop {
            // Before looking: what is put from now on wakes us.
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            if let Some(frame) = self.inboxes().get_mut(&question.id).and_then(VecDeque::pop_front) {
                return Ok(frame);
            }
            if self.state.ended.load(Ordering::Acquire) {
                return Err(self.end());
            }
            tokio::select! {
                () = news => {}
                frame = self.read() => if let Some(frame) = frame {
                    if frame.id == question.id {
                        return Ok(frame);
                    }
                    self.put(frame);
                },
            }
        }
    }

    /// Waits until the sandbox stands.
    pub(super) async fn ready(&self) -> Result<(), Ended> {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            if self.state.ready.get().is_some() {
                return Ok(());
            }
            if self.state.ended.load(Ordering::Acquire) {
                return Err(self.end());
            }
            tokio::select! {
                () = news => {}
                frame = self.read() => if let Some(frame) = frame { self.put(frame) },
            }
        }
    }

    /// Waits until it is known who the guest is, or that there is none. That is the spawner's word, which comes first.
    pub(super) async fn introduced(&self) {
        while self.state.guest.get().is_none() && !self.state.ended.load(Ordering::Acquire) {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            tokio::select! {
                () = news => {}
                frame = self.read() => if let Some(frame) = frame { self.put(frame) },
            }
        }
    }

    /// Waits for the way out of a sandbox that was asked for with one.
    pub(super) async fn door(&self) -> Result<OwnedFd, Ended> {
        self.reading.lock().await.expect_door();
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            if let Some(door) = self.state.door.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Ok(door);
            }
            if self.state.ended.load(Ordering::Acquire) {
                return Err(self.end());
            }
            tokio::select! {
                () = news => {}
                frame = self.read() => if let Some(frame) = frame { self.put(frame) },
            }
        }
    }

    /// Reads until the guest side has ended.
    pub(super) async fn read_to_end(&self) {
        while !self.state.ended.load(Ordering::Acquire) {
            if let Some(frame) = self.read().await {
                self.put(frame);
            }
        }
    }

    /// Reads one frame. What is about the sandbox itself is kept; the rest is given. Notes the end.
    async fn read(&self) -> Option<Frame> {
        let mut reader = self.reading.lock().await;
        if self.state.ended.load(Ordering::Acquire) {
            return None;
        }
        let read = reader.next(&self.stream).await;
        if let Some(pidfd) = reader.take_pidfd() {
            // The reader has but one.
            let _the_only_one = self.state.guest.set(Life::watch(pidfd));
        }
        let frame = match read {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.note_end();
                return None;
            }
            Err(ReadError::Malformed) => {
                self.note_broken("what it says is not a frame");
                return None;
            }
            Err(ReadError::Io(error)) => {
                tracing::debug!(%error, "the guest's channel broke");
                self.note_end();
                return None;
            }
        };
        if frame.id != 0 {
            return Some(frame);
        }
        let door = if frame.kind == FrameKind::Door { reader.take_door() } else { None };
        self.note_word(&frame, door);
        None
    }

    /// Takes note of what is said of the sandbox itself. Each of it is said once: a guest that repeats itself could do so
    /// for ever.
    fn note_word(&self, frame: &Frame, door: Option<OwnedFd>) {
        match frame.kind {
            FrameKind::Opened => match Opened::decode(&frame.payload) {
                Ok(opened) if self.state.guest_pid.set(opened.pid).is_ok() => {}
                Ok(_) => self.note_broken("it exists twice"),
                Err(_) => self.note_broken("its process id is malformed"),
            },
            FrameKind::Door => match door {
                Some(door) => {
                    *self.state.door.lock().unwrap_or_else(PoisonError::into_inner) = Some(door);
                    self.news.notify_waiters();
                }
                None => self.note_broken("it opens a door that nobody asked for"),
            },
            FrameKind::Ready => self.note_ready(&frame.payload),
            FrameKind::Failed => match Failure::decode(&frame.payload) {
                Ok(failure) if self.state.failed.set(failure).is_ok() => {}
                Ok(_) if self.state.failed_too.set(()).is_ok() => {}
                Ok(_) => self.note_broken("it fails again and again"),
                Err(_) => self.note_broken("its error is malformed"),
            },
            _ => self.note_broken("it says what nobody asked for"),
        }
    }

    fn note_ready(&self, payload: &Bytes) {
        match crucible_guest::protocol::Ready::decode(payload) {
            Ok(ready) if ready.version == VERSION => match self.state.ready.set(()) {
                Ok(()) => self.news.notify_waiters(),
                Err(()) => self.note_broken("it greets twice"),
            },
            Ok(ready) => self.note_broken(&format!("it speaks version {} of the protocol", ready.version)),
            Err(_) => self.note_broken("its greeting is malformed"),
        }
    }

    /// Puts a frame where whoever asked finds it.
    fn put(&self, frame: Frame) {
        let mut inboxes = self.inboxes();
        let fits = match inboxes.get_mut(&frame.id) {
            Some(inbox) if inbox.len() < WAITING_MAX => {
                inbox.push_back(frame);
                true
            }
            Some(_) => false,
            // Whoever asked has gone, or wanted to hear of a failure only.
            None => {
                let known = frame.id < self.next_id.load(Ordering::Relaxed);
                if frame.kind == FrameKind::Failed && known {
                    self.unasked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(frame);
                }
                let fewer = |left: u32| left.checked_sub(1);
                let taken = self.strays_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
                known && taken.is_ok()
            }
        };
        drop(inboxes);
        if fits {
            self.news.notify_waiters();
        } else {
            self.note_broken("it answers what nobody asked");
        }
    }

    /// A frame that answers a request to which no answer is expected: a quiet one that failed.
    pub(super) fn take_unasked(&self) -> Option<Frame> {
        self.unasked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note_end(&self) {
        self.state.ended.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    fn note_broken(&self, what: &str) {
        let _only_the_first = self.state.broke_protocol.set(what.to_owned());
        self.note_end();
    }

    /// Why the link has ended.
    fn end(&self) -> Ended {
        if let Some(failure) = self.state.failed.get() {
            return Ended::Error(failed_step(*failure));
        }
        match self.state.broke_protocol.get() {
            Some(what) => Ended::Error(protocol(what.clone(), false)),
            None => Ended::Gone,
        }
    }

    /// Why nothing can be sent any more: what the guest said last tells.
    async fn why_ended(&self) -> Ended {
        // One that does not listen any more can go on talking, or say nothing without an end.
        let _read = tokio::time::timeout(LAST_WORDS, self.read_to_end()).await;
        self.end()
    }

    /// How many frames wait, and how much room the reader has taken.
    #[cfg(test)]
    pub(super) async fn held(&self) -> (usize, usize) {
        let waiting = self.inboxes().values().map(VecDeque::len).sum();
        (waiting, self.reading.lock().await.room())
    }

    /// What is left of it, for whoever buries the sandbox.
    pub(super) fn into_parts(self) -> Parts {
        let mut reader = self.reading.into_inner();
        let guest = self.state.guest_pid.into_inner();
        let known = self.state.guest.into_inner().map(|life| match life {
            Life::Watched(pidfd) => pidfd.into_inner(),
            Life::Unwatched(pidfd) => pidfd,
        });
        let pidfd = known.or_else(|| reader.take_pidfd());
        Parts { stream: self.stream, guest, pidfd, mounts: reader.take_mounts() }
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset)
}
