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
use crucible_guest_client::Frame;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::process::Signal;

use super::frames::FrameReader;
use super::holdings::Holdings;
use super::interpreter::Interpreter;
use super::preopen::Preopened;
use super::resources::Resources;
use super::slot::Slot;
use super::undertakers::Undertakers;
use super::violations::Guest;

/// How long something may take to die before it is called stuck, in the log.
const STUCK: Duration = Duration::from_secs(10);
/// How often a guest that does not die is told to, again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
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
    pub(super) holdings: Holdings,
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
    pub(super) fn of_nobody(holdings: Holdings) -> Self {
        Self { holdings, guest: None, pidfd: None, channel: None, mounts: None }
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
        let bell =
            Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, receiver) = mpsc::channel();
        let theirs = Arc::clone(&bell);
        let undertakers = Undertakers::start(&resources, &bell)?;
        let thread =
            std::thread::Builder::new().name("crucible-janitor".to_owned()).spawn(move || {
                Work { resources, jobs: receiver, bell: theirs, mourned: Vec::new(), undertakers }
                    .run()
            })?;
        let janitor =
            Self { jobs: Mutex::new(Some(sender)), bell, thread: Mutex::new(Some(thread)) };
        janitor.ring();
        Ok(janitor)
    }

    /// Takes care of what is left of a sandbox.
    pub(super) fn bury(&self, remains: Remains) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send(remains).is_ok());
        if !sent {
            tracing::error!(
                "a sandbox ended after its engine; its cgroup is left to the next engine"
            );
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
        ring(&self.bell);
    }
}

pub(super) fn ring(bell: &OwnedFd) {
    // A bell that rings already is heard.
    let _rung = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// What the janitor waits for.
#[derive(Debug)]
pub(super) struct Mourned {
    remains: Remains,
    since: Instant,
    /// The guest is dead, or there never was one: only its groups are in the way.
    dead: bool,
    /// Whether there may be something new: its guest has been heard of, or nobody has looked for a while.
    stirred: bool,
    told: bool,
    reader: FrameReader,
}

struct Work {
    resources: Arc<Resources>,
    jobs: Receiver<Remains>,
    bell: Arc<OwnedFd>,
    /// Those that live, or could not be given back a moment ago.
    mourned: Vec<Mourned>,
    undertakers: Undertakers,
}

impl Work {
    fn run(mut self) {
        let mut last_moment = None;
        loop {
            match self.take_jobs() {
                Ok(()) => {}
                Err(Stopped) => {
                    last_moment.get_or_insert_with(|| Instant::now() + LAST_WAIT);
                    self.take_unwanted(
                        self.resources.preopened.clear(),
                        self.resources.interpreters.clear(),
                    );
                    self.take_unwanted(self.resources.slots.pool.clear(), Vec::new());
                }
            }
            self.take_unwanted(
                self.resources.preopened.take_expired(),
                self.resources.interpreters.take_expired(),
            );
            self.take_unwanted(self.resources.slots.pool.take_expired(), Vec::new());
            self.bury_the_dead();
            match last_moment {
                None => self.prepare(),
                Some(_) if self.left() == 0 => return,
                Some(moment) if Instant::now() >= moment => {
                    tracing::error!(
                        sandboxes = self.left(),
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

    /// Sees who has died meanwhile, and hands them over.
    fn bury_the_dead(&mut self) {
        let returned = self.undertakers.returned();
        let mut dead: Vec<_> = self.mourned.extract_if(.., Mourned::has_died).collect();
        // To hand over takes longer than to do it, as long as nobody waits behind.
        if let [only] = &mut *dead
            && self.left() == 0
            && only.give_back(&self.resources)
        {
            dead.clear();
        }
        dead.into_iter().for_each(|dead| self.undertakers.bury(dead));
        self.mourned.extend(returned);
    }

    /// How many sandboxes are not given back.
    fn left(&self) -> usize {
        self.mourned.len() + self.undertakers.under_way()
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
    fn wait(&mut self) -> Woken {
        let timeout = if self.mourned.iter().any(|mourned| mourned.dead) {
            Some(TRY_AGAIN)
        } else if self.left() == 0 && self.resources.is_swollen() {
            Some(IDLE)
        } else if self.left() == 0 && self.resources.keeps_any() {
            Some(AGED)
        } else if self.left() == 0 {
            None
        } else {
            Some(LOOK_AGAIN)
        };
        let timeout = timeout.and_then(|timeout| rustix::event::Timespec::try_from(timeout).ok());
        let mut fds = vec![PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN)];
        let watched = self.mourned.iter().filter_map(Mourned::watched);
        fds.extend(watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let polled = rustix::event::poll(&mut fds, timeout.as_ref());
        let stirs: Vec<bool> = fds.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect();
        let woken = match polled {
            Ok(0) if self.left() == 0 => Woken::Idle,
            Ok(_) | Err(rustix::io::Errno::INTR) => Woken::Busy,
            Err(error) => {
                tracing::error!(%error, "the janitor cannot wait");
                std::thread::sleep(TRY_AGAIN);
                Woken::Busy
            }
        };
        let nobody = polled == Ok(0);
        let watched = self.mourned.iter_mut().filter(|mourned| mourned.watched().is_some());
        watched.zip(stirs).for_each(|(mourned, stirs)| mourned.stirred = stirs || nobody);
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
        for size in preopened.reserve_missing() {
            if failed {
                preopened.release(&size);
                continue;
            }
            match Preopened::open(&self.resources, size, &mut left) {
                Ok(sandbox) => preopened.complete(&size, Some(sandbox)),
                Err(error) => {
                    preopened.complete(&size, None);
                    tracing::warn!(%error, "a sandbox could not be opened ahead of time");
                    failed = true;
                }
            }
        }
        for size in self.resources.slots.pool.reserve_missing() {
            if failed {
                self.resources.slots.pool.release(&size);
                continue;
            }
            match Slot::make(&self.resources, size, &mut left) {
                Ok(sandbox) => self.resources.slots.pool.complete(&size, Some(sandbox)),
                Err(error) => {
                    self.resources.slots.pool.complete(&size, None);
                    tracing::warn!(%error, "a slot could not be made");
                    failed = true;
                }
            }
        }
        for kind in self.resources.interpreters.reserve_missing() {
            if failed {
                self.resources.interpreters.release(&kind);
                continue;
            }
            match Interpreter::start(&self.resources, &kind, &mut left) {
                Ok(interpreter) => self.resources.interpreters.complete(&kind, Some(interpreter)),
                Err(error) => {
                    self.resources.interpreters.complete(&kind, None);
                    tracing::warn!(%error, "an interpreter could not be started ahead of time");
                    failed = true;
                }
            }
        }
        self.mourn(left);
    }

    fn mourn(&mut self, remains: Vec<Remains>) {
        self.resources.dying.fetch_add(remains.len(), Ordering::Relaxed);
        self.mourned.extend(remains.into_iter().map(Mourned::new));
    }

    /// Takes care of those that were opened ahead of time, and that nobody wants any more.
    fn take_unwanted(&mut self, sandboxes: Vec<Preopened>, interpreters: Vec<Interpreter>) {
        let unwanted =
            sandboxes.into_iter().chain(interpreters.into_iter().map(|waiting| waiting.sandbox));
        self.mourn(unwanted.map(Preopened::into_remains).collect());
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
    fn new(mut remains: Remains) -> Self {
        let slot = remains.holdings.slot.as_mut();
        let reader = slot.map(|slot| std::mem::take(&mut slot.reader)).unwrap_or_default();
        let dead =
            remains.pidfd.is_none() && remains.channel.is_none() && remains.holdings.slot.is_none();
        Self { remains, since: Instant::now(), dead, stirred: true, told: false, reader }
    }

    /// What tells of the guest's end, and of its slot's; nothing does any more if they are dead.
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        let watched =
            self.remains.pidfd.as_ref().or(self.remains.channel.as_ref()).map(|fd| fd.as_fd());
        let slot = self.remains.holdings.slot.as_ref().map(Slot::process);
        // What has ended stays readable: with it, nobody would ever wait.
        let lives = |fd: &BorrowedFd<'_>| slot.is_none() || !is_readable(*fd);
        watched.filter(lives).or(slot).filter(|_| !self.dead)
    }

    /// Whether it has died. One that was handed over before, and came back, has.
    fn has_died(&mut self) -> bool {
        if !self.dead && self.stirred {
            self.learn();
            self.dead = self.look();
        }
        if !self.told && self.since.elapsed() > STUCK {
            self.told = true;
            let group = self
                .remains
                .holdings
                .group
                .as_ref()
                .map(super::cgroup::Group::describe)
                .unwrap_or_default();
            tracing::error!(
                group,
                "a sandbox does not die: a process may be in an uninterruptible sleep"
            );
        }
        self.dead
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
        let is_dead = |process: BorrowedFd<'_>| {
            if is_readable(process) {
                return true;
            }
            if let Some(group) = &self.remains.holdings.group {
                group.kill();
            }
            // It may just have died.
            let _ended = rustix::process::pidfd_send_signal(process, Signal::KILL);
            false
        };
        let guest = self.remains.pidfd.as_ref().map(|pidfd| is_dead(pidfd.as_fd()));
        let slot = self.remains.holdings.slot.as_ref().map(|slot| is_dead(slot.process()));
        match (guest, slot) {
            (None, None) => self.dead,
            // Without its slot a guest ends; who it was is not known where it had just begun.
            (guest, slot) => guest != Some(false) && slot != Some(false),
        }
    }

    /// Gives back what the sandbox held; `false` if something runs under it still.
    pub(super) fn give_back(&mut self, resources: &Resources) -> bool {
        // The memory of its file system counts for its cgroup until it is gone.
        self.remains.mounts = None;
        if let Some(pool) = &resources.pool
            // This one is among those that are held.
            && let Err(error) = pool.put_back(&mut self.remains.holdings.group, resources.ready_wanted() + 1)
        {
            if error.raw_os_error() != Some(libc::EBUSY) && !self.told {
                self.told = true;
                let group =
                    self.remains.holdings.group.as_ref().map(super::cgroup::Group::describe);
                tracing::error!(group, %error, "a cgroup cannot be removed");
            }
            return false;
        }
        resources.auditor.violations.forget(|| self.guest());
        resources.ids.put(self.remains.holdings.ids);
        if let Some(network) = self.remains.holdings.network.take() {
            resources.networks.put_back(network, resources.wanted());
        }
        resources.held.fetch_sub(1, Ordering::Relaxed);
        resources.dying.fetch_sub(1, Ordering::Relaxed);
        true
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1..))
}
