//! The janitor: a thread that waits until sandboxes are dead, gives back what they held, and prepares for the next.
//!
//! It is a thread and not a task, because what is left must go even when the host's runtime is gone.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crucible_guest::protocol::{FrameKind, Opened};
use crucible_link::Frame;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::process::Signal;

use super::frames::FrameReader;
use super::preopen::Preopened;
use super::resources::Resources;
use super::slot::Slot;
use super::violations::Guest;

/// How long something may take to die before it is called stuck, in the log.
const STUCK: Duration = Duration::from_secs(10);
/// How often a cgroup that is still busy is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(2);
/// How often it is seen what has waited too long for somebody to ask for it.
const AGED: Duration = Duration::from_secs(5);
/// After how long without anything to do the rest is given up.
const IDLE: Duration = Duration::from_secs(1);
/// How long the end of an engine waits for what is dying.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What is left of a sandbox.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) slot: Slot,
    /// The guest's process id, if anyone learnt of it.
    pub(super) guest: Option<u32>,
    /// The guest, if anyone learnt of it.
    pub(super) pidfd: Option<OwnedFd>,
    /// The channel over which to learn of it. `None` with no pidfd: there never was a guest.
    pub(super) channel: Option<OwnedFd>,
    /// What keeps its mounts alive.
    pub(super) mounts: Option<OwnedFd>,
}

impl Remains {
    /// What is left of a sandbox that never was.
    pub(super) fn of_nobody(slot: Slot) -> Self {
        Self { slot, guest: None, pidfd: None, channel: None, mounts: None }
    }
}

/// The janitor's door.
#[derive(Debug)]
pub(super) struct Janitor {
    /// `None` once the janitor was told to stop.
    jobs: Mutex<Option<Sender<Remains>>>,
    bell: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Janitor {
    pub(super) fn start(resources: Arc<Resources>) -> std::io::Result<Self> {
        let bell = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, receiver) = mpsc::channel();
        let theirs = Arc::clone(&bell);
        let thread = std::thread::Builder::new()
            .name("crucible-janitor".to_owned())
            .spawn(move || Work { resources, jobs: receiver, bell: theirs, mourned: Vec::new() }.run())?;
        let janitor = Self { jobs: Mutex::new(Some(sender)), bell, thread: Mutex::new(Some(thread)) };
        janitor.ring();
        Ok(janitor)
    }

    /// Takes care of what is left of a sandbox.
    pub(super) fn bury(&self, remains: Remains) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send(remains).is_ok());
        if !sent {
            tracing::error!("a sandbox ended after its engine; its cgroup is left to the next engine");
        }
        drop(jobs);
        self.ring();
    }

    /// Waits until everything that was handed in is taken care of.
    pub(super) fn stop(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.ring();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the janitor panicked; cgroups may be left to the next engine");
        }
    }

    /// Has it see what is lacking.
    pub(super) fn ring(&self) {
        // A bell that rings already is heard.
        let _rung = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}

/// What the janitor waits for.
struct Mourned {
    remains: Remains,
    since: Instant,
    /// The guest is dead, or there never was one: only its groups are in the way.
    dead: bool,
    told: bool,
    reader: FrameReader,
}

struct Work {
    resources: Arc<Resources>,
    jobs: Receiver<Remains>,
    bell: Arc<OwnedFd>,
    mourned: Vec<Mourned>,
}

impl Work {
    fn run(mut self) {
        let mut last_moment = None;
        loop {
            match self.take_jobs() {
                Ok(()) => {}
                Err(Stopped) => {
                    last_moment.get_or_insert_with(|| Instant::now() + LAST_WAIT);
                    self.take_unwanted(self.resources.preopened.clear());
                }
            }
            self.take_unwanted(self.resources.preopened.aged());
            self.mourned.retain_mut(|mourned| !mourned.settle(&self.resources));
            match last_moment {
                None => self.prepare(),
                Some(_) if self.mourned.is_empty() => return,
                Some(moment) if Instant::now() >= moment => {
                    tracing::error!(
                        sandboxes = self.mourned.len(),
                        "sandboxes did not die with their engine"
                    );
                    return;
                }
                Some(_) => {}
            }
            if self.wait() == Woken::Idle {
                self.resources.shrink();
            }
        }
    }

    fn take_jobs(&mut self) -> Result<(), Stopped> {
        loop {
            match self.jobs.try_recv() {
                Ok(remains) => self.mourned.push(Mourned::new(remains)),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Stopped),
            }
        }
    }

    /// Sleeps until a guest dies, the bell rings, or a group is to be tried again.
    fn wait(&self) -> Woken {
        let watched = self.mourned.iter().filter(|mourned| !mourned.dead).filter_map(Mourned::watched);
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.bell.as_fd())
            .chain(watched)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = if self.mourned.iter().any(|mourned| mourned.dead) {
            Some(TRY_AGAIN)
        } else if self.mourned.is_empty() && self.resources.is_swollen() {
            Some(IDLE)
        } else if self.mourned.is_empty() && self.resources.preopened.stats().ready > 0 {
            Some(AGED)
        } else if self.mourned.is_empty() {
            None
        } else {
            Some(Duration::from_secs(1))
        };
        let timeout = timeout.and_then(|timeout| rustix::event::Timespec::try_from(timeout).ok());
        let woken = match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(0) if self.mourned.is_empty() => Woken::Idle,
            Ok(_) | Err(rustix::io::Errno::INTR) => Woken::Busy,
            Err(error) => {
                tracing::error!(%error, "the janitor cannot wait");
                std::thread::sleep(TRY_AGAIN);
                Woken::Busy
            }
        };
        let mut rings = [0; 8];
        // Nobody rang.
        let _heard = rustix::io::read(&*self.bell, &mut rings);
        woken
    }

    /// Makes what the sandboxes to come need, and some of them as a whole.
    fn prepare(&mut self) {
        self.resources.prepare();
        let preopened = &self.resources.preopened;
        let (mut failed, mut left) = (false, Vec::new());
        for size in preopened.lacking() {
            if failed {
                preopened.put_off(&size);
                continue;
            }
            match Preopened::open(&self.resources, size, &mut left) {
                Ok(sandbox) => preopened.put(&size, Some(sandbox)),
                Err(error) => {
                    preopened.put(&size, None);
                    tracing::warn!(%error, "a sandbox could not be opened ahead of time");
                    failed = true;
                }
            }
        }
        self.mourned.extend(left.into_iter().map(Mourned::new));
    }

    /// Takes care of those that were opened ahead of time, and that nobody wants any more.
    fn take_unwanted(&mut self, unwanted: Vec<Preopened>) {
        self.mourned.extend(unwanted.into_iter().map(|sandbox| Mourned::new(sandbox.into_remains())));
    }
}

/// The engine is ending.
struct Stopped;

/// What the janitor woke up for.
#[derive(PartialEq, Eq)]
enum Woken {
    /// There may be something to do.
    Busy,
    /// There was nothing to do for a while.
    Idle,
}

impl Mourned {
    fn new(remains: Remains) -> Self {
        let dead = remains.pidfd.is_none() && remains.channel.is_none();
        Self { remains, since: Instant::now(), dead, told: false, reader: FrameReader::new() }
    }

    fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.remains.pidfd.as_ref().or(self.remains.channel.as_ref()).map(|fd| fd.as_fd())
    }

    /// Does what can be done now; `true` if nothing is left to do.
    fn settle(&mut self, resources: &Resources) -> bool {
        if !self.dead {
            self.learn();
            self.dead = self.look();
        }
        // The memory of its file system counts for its cgroup until it is gone.
        self.remains.mounts = None;
        if self.dead && self.give_back(resources) {
            return true;
        }
        if !self.told && self.since.elapsed() > STUCK {
            self.told = true;
            let group =
                self.remains.slot.group.as_ref().map(super::cgroup::Group::describe).unwrap_or_default();
            tracing::error!(group, "a sandbox does not die: a process may be in an uninterruptible sleep");
        }
        false
    }

    /// Learns of the guest from its channel, if nobody has yet.
    fn learn(&mut self) {
        while self.remains.pidfd.is_none() {
            let Some(channel) = &self.remains.channel else { return };
            if !is_readable(channel.as_fd()) {
                return;
            }
            let read = self.reader.next_blocking(channel.as_fd());
            if let Ok(Some(Frame { kind: FrameKind::Opened, id: 0, payload })) = &read {
                self.remains.guest = Opened::decode(payload).ok().map(|opened| opened.pid);
            }
            let ended = !matches!(read, Ok(Some(_)));
            self.remains.pidfd = self.reader.take_pidfd();
            if ended {
                // Everybody who could have said something is gone.
                self.remains.channel = None;
                self.dead = self.remains.pidfd.is_none();
            }
        }
    }

    /// The guest, as violations were counted for it.
    fn guest(&self) -> Option<Guest> {
        Guest::new(self.remains.guest?, self.remains.pidfd.as_ref()?.as_fd())
    }

    /// Whether the guest is dead. Until it is, it is told to die: as process 1 it takes everything with it.
    fn look(&self) -> bool {
        let Some(pidfd) = &self.remains.pidfd else { return self.dead };
        if is_readable(pidfd.as_fd()) {
            return true;
        }
        if let Some(group) = &self.remains.slot.group {
            group.kill();
        }
        // It may just have died.
        let _ended = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        false
    }

    /// Gives back what the sandbox held, once nothing runs under it any more.
    fn give_back(&mut self, resources: &Resources) -> bool {
        if let Some(pool) = &resources.pool
            // This one is among those that are held.
            && let Err(error) = pool.put_back(&mut self.remains.slot.group, resources.ready_wanted() + 1)
        {
            if error.raw_os_error() != Some(libc::EBUSY) && !self.told {
                self.told = true;
                let group = self.remains.slot.group.as_ref().map(super::cgroup::Group::describe);
                tracing::error!(group, %error, "a cgroup cannot be removed");
            }
            return false;
        }
        resources.auditor.violations.forget(|| self.guest());
        resources.ids.put(self.remains.slot.ids);
        if let Some(network) = self.remains.slot.network.take() {
            resources.networks.put(network);
        }
        resources.held.fetch_sub(1, Ordering::Relaxed);
        true
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1..))
}
