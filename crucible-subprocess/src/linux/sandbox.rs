//! An open sandbox.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Command, Endpoint, EngineError, ExecOptions, ExecOutcome, InvalidInput, Limits, Listing,
    Network, Sandbox, SandboxPath, SandboxSpec, Usage,
};
use crucible_guest_client::errors::{lost, setup};
use crucible_guest_client::{
    CLOSE_GRACE, CgroupCounters, GuestSandbox, GuestSandboxExt as _, KILL_CONFIRM, SETUP_TIMEOUT,
    SandboxLock, UsageAccount, UsageBaseline,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;

use super::cgroup::Group;
use super::egress::Proxy;
use super::engine::Inner;
use super::exec;
use super::holdings::Holdings;
use super::interpreter::{Interpreter, Waiting};
use super::janitor::Remains;
use super::lease::Lease;
use super::link::{Link, Parts};
use super::preopen::Preopened;
use super::resources::Size;
use super::returning::Returning;
use super::socket::Socket;

/// How long the end of a guest that ends is waited for without giving the thread up.
const LAST_BREATH: Duration = Duration::from_micros(300);

/// An open sandbox. Dropped without being closed, it is ended in the background.
#[derive(Debug)]
pub(super) struct SubprocessSandbox {
    inner: Arc<Inner>,
    /// `None` once it was handed to the janitor.
    open: Option<Open>,
}

/// The parts of an open sandbox.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) link: Link,
    pub(super) holdings: Holdings,
    pub(super) limits: Limits,
    /// Where the sandbox has an allow-list.
    pub(super) proxy: Option<Proxy>,
    pub(super) lock: SandboxLock,
    pub(super) memory: SyncMutex<Memory>,
    /// A command that was started already, and waits.
    waiting: SyncMutex<Option<Waiting>>,
}

/// What is to be remembered between commands.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The usage up to the end of the last command.
    pub(super) account: UsageAccount,
    /// The counters before the first.
    start: CgroupCounters,
    /// Something has run.
    pub(super) has_run: bool,
    /// Nothing has run since, or can.
    pub(super) is_last: bool,
    /// All went as it should, as far as the sandbox goes: the next may be like it.
    pub(super) is_clean: bool,
    /// The guest is alone, and was killed.
    is_doomed: bool,
}

/// A channel to a guest: our end, the guest's.
pub(super) fn channel() -> Result<(OwnedFd, OwnedFd), EngineError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| setup("make the guest's socket", error))
}

/// Whether a sandbox can be had as it is asked for.
fn check(inner: &Inner, spec: &SandboxSpec) -> Result<(), EngineError> {
    inner.info.admit(&spec.isolation, &spec.network)?;
    inner.info.admit_image(spec.image.as_deref())?;
    InvalidInput::check(spec.network.problems("network"))?;
    inner.check_limits(&spec.limits)
}

/// Asks for a sandbox; gives what it holds and our end of its guest's channel.
async fn open_now(
    inner: &Arc<Inner>,
    size: Size,
    network: &Network,
    ready: bool,
) -> Result<(Lease, OwnedFd), EngineError> {
    let lease = inner.lease(size, network)?;
    let (ours, theirs) = channel()?;
    let Some(holdings) = lease.holdings() else { return Err(lost("opening a sandbox", false)) };
    let plan = inner.resources().plan(holdings, size, network, ready);
    inner.open_guest(&plan, holdings, theirs.as_fd()).await?;
    Ok((lease, ours))
}

impl SubprocessSandbox {
    /// Asks for a sandbox and sends its input files after it, without waiting until it stands. One that is for a single run, on behalf of
    /// a tenant, may be in a slot.
    pub(super) async fn begin(
        inner: &Arc<Inner>,
        spec: SandboxSpec,
        tenant: Option<&str>,
        ready: bool,
    ) -> Result<Self, EngineError> {
        check(inner, &spec)?;
        let size = Size::from(&spec.limits);
        let preopened = if spec.network == Network::None {
            let in_slot = tenant.and_then(|tenant| inner.take_from_slots(size, tenant));
            in_slot.or_else(|| inner.take_preopened(size))
        } else {
            None
        };
        let (lease, channel) = match preopened {
            Some(Preopened { holdings, channel }) => (inner.lease_of(holdings), channel),
            None => open_now(inner, size, &spec.network, ready).await?,
        };
        let mut sandbox = Self::adopt(inner, lease, channel, spec.limits)?;
        if let Network::Allow(endpoints) = &spec.network {
            sandbox.open_door(endpoints).await?;
        }
        sandbox.open()?.put_inputs(&spec.files).await?;
        Ok(sandbox)
    }

    /// A sandbox in which an interpreter of one of the engine's languages waits for its program, if there is one; else one like any
    /// other.
    pub(super) async fn begin_waiting(
        inner: &Arc<Inner>,
        spec: SandboxSpec,
        language: usize,
    ) -> Result<Self, EngineError> {
        check(inner, &spec)?;
        while let Some(Interpreter { sandbox: Preopened { holdings, channel }, streams }) =
            inner.take_interpreter(language, &spec.limits)?
        {
            let sandbox =
                Self::adopt(inner, inner.lease_of(holdings), channel, spec.limits.clone())?;
            let open = sandbox.open()?;
            let waiting = Waiting::over(&open.link, language, streams);
            let stands = async {
                let ready = waiting.is_ready();
                let is_ready = open.within(SETUP_TIMEOUT, "starting an interpreter", ready).await?;
                if is_ready {
                    open.put_inputs(&spec.files).await?;
                }
                Ok(is_ready)
            };
            match stands.await {
                Ok(true) => {
                    *open.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
                    return Ok(sandbox);
                }
                // It has ended, or does so right now, and has run nothing.
                Ok(false) | Err(EngineError::Lost { .. }) => {}
                Err(error) => return Err(error),
            }
            inner.resources().interpreters.record_failed();
        }
        Self::begin(inner, spec, None, false).await
    }

    /// A sandbox that stands, or will in a moment, and our end of its guest's channel.
    fn adopt(
        inner: &Arc<Inner>,
        lease: Lease,
        channel: OwnedFd,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        // The guest is on its way. Without our end of its socket it ends again.
        let socket =
            Socket::new(channel).map_err(|error| setup("make the guest's socket", error))?;
        let Some(holdings) = lease.into_holdings() else {
            return Err(lost("opening a sandbox", false));
        };
        Ok(Self::over(inner, holdings, limits, socket))
    }

    /// A sandbox whose guest is at the other end of a channel.
    pub(super) fn over(
        inner: &Arc<Inner>,
        mut holdings: Holdings,
        limits: Limits,
        socket: Socket,
    ) -> Self {
        let counters = holdings.group.as_ref().map(Group::start).unwrap_or_default();
        let link = match &mut holdings.slot {
            Some(slot) => Link::in_slot(socket, std::mem::take(&mut slot.reader)),
            None => Link::new(socket),
        };
        let open = Open {
            link,
            holdings,
            limits,
            proxy: None,
            lock: SandboxLock::new(),
            memory: SyncMutex::new(Memory {
                account: UsageAccount::new(counters),
                start: counters,
                ..Memory::default()
            }),
            waiting: SyncMutex::new(None),
        };
        Self { inner: Arc::clone(inner), open: Some(open) }
    }

    /// Waits for the sandbox's way out, and has the proxy serve it.
    async fn open_door(&mut self, endpoints: &[Endpoint]) -> Result<(), EngineError> {
        let open = self.open()?;
        let door = match tokio::time::timeout(SETUP_TIMEOUT, open.link.door()).await {
            Ok(door) => door.map_err(|ended| ended.into_error(false))?,
            Err(_) => return Err(lost("opening a sandbox", false)),
        };
        let proxy = Proxy::start(door, endpoints, Arc::clone(&self.inner.names))?;
        if let Some(open) = &mut self.open {
            open.proxy = Some(proxy);
        }
        Ok(())
    }

    fn open(&self) -> Result<&Open, EngineError> {
        let closed = || EngineError::Closed { what: "the sandbox".to_owned() };
        let open = self.open.as_ref().ok_or_else(closed)?;
        open.lock.check()?;
        Ok(open)
    }

    /// Waits until the sandbox stands, with its input files in place.
    pub(super) async fn wait_until_ready(&self) -> Result<(), EngineError> {
        self.open()?.wait_until_ready().await
    }
}

impl GuestSandbox for Open {
    type Channel = Link;

    fn channel(&self) -> &Link {
        &self.link
    }

    fn lock(&self) -> &SandboxLock {
        &self.lock
    }

    async fn abort(&self, error: EngineError) -> EngineError {
        self.get_to_know().await;
        self.kill();
        error
    }
}

impl Open {
    /// What the kernel has counted so far; nothing where there is no cgroup.
    pub(super) fn counters(&self) -> Result<CgroupCounters, EngineError> {
        match &self.holdings.group {
            Some(group) => group.counters().map_err(|error| setup("read a cgroup", error)),
            None => Ok(CgroupCounters::default()),
        }
    }

    /// The command that was started already, once.
    pub(super) fn take_waiting(&self) -> Option<Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn remember(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counters at the end of the last command.
    pub(super) fn baseline(&self) -> UsageBaseline {
        self.remember().account.baseline
    }
}

#[async_trait]
impl Sandbox for SubprocessSandbox {
    async fn exec(&self, command: &Command, io: ExecOptions) -> Result<ExecOutcome, EngineError> {
        let open = self.open()?;
        let _turn = open.lock.acquire().await?;
        exec::exec(&self.inner, open, command, io).await
    }

    async fn write(
        &self,
        path: &SandboxPath,
        content: Bytes,
        executable: bool,
    ) -> Result<(), EngineError> {
        self.open()?.write_file(path, &content, executable).await
    }

    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        self.open()?.read_file(path, limit).await
    }

    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        self.open()?.list_directory(path).await
    }

    async fn close(mut self: Box<Self>) -> Result<Usage, EngineError> {
        let Some(open) = &self.open else {
            return Err(EngineError::Closed { what: "the sandbox".to_owned() });
        };
        open.request_close().await;
        // One that is as good as dead is waited for by the janitor.
        let dead = open.remember().is_doomed || open.wait_until_dead().await;
        let usage = open.total_usage();
        if let Some(proxy) = self.open.as_mut().and_then(|open| open.proxy.as_mut()) {
            proxy.stop().await;
        }
        self.give_up();
        if dead { usage } else { Err(lost("closing: it could not be confirmed dead", true)) }
    }
}

impl Open {
    /// Learns who the guest is, if nobody has yet: whoever had nothing to hear from it has not.
    async fn get_to_know(&self) {
        let _known = tokio::time::timeout(CLOSE_GRACE, self.link.introduced()).await;
    }

    /// Waits until the guest is dead, which takes everything with it; ends it if it takes too long.
    async fn wait_until_dead(&self) -> bool {
        if self.link.is_gone() {
            return true;
        }
        self.get_to_know().await;
        if self.link.pidfd().is_none() {
            // There never was a guest.
            return true;
        }
        self.confirm_death().await
    }

    /// Whether the guest is the only process that is left, by the kernel's own count, and was killed: then nothing untrusted lives,
    /// and nothing can come of it. To wait until it has gone too is the janitor's business; nothing that it held is used before.
    pub(super) fn is_doomed_alone(&self) -> bool {
        let counted =
            self.holdings.group.as_ref().and_then(|group| group.processes().ok().flatten());
        let is_alone = counted.is_some_and(|count| count <= 1);
        let is_doomed = is_alone
            && self.link.pidfd().is_some_and(|pidfd| {
                let killed = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
                matches!(killed, Ok(()) | Err(rustix::io::Errno::SRCH))
            });
        self.remember().is_doomed = is_doomed;
        is_doomed
    }

    /// Waits for the death of a guest that has said that it ends; ends it if it takes too long. `false` if it still lives.
    pub(super) async fn confirm_death(&self) -> bool {
        if self.holdings.slot.is_some() {
            if tokio::time::timeout(CLOSE_GRACE, self.link.died()).await.is_ok() {
                return true;
            }
            self.kill();
            let died = tokio::time::timeout(KILL_CONFIRM, self.link.died()).await;
            // Where the slot is gone too, nobody says so.
            return died.is_ok() || self.link.dies_within(LAST_BREATH);
        }
        // It dies within a fraction of a millisecond: to sleep as a task and be woken by another thread takes longer.
        if self.link.dies_within(LAST_BREATH)
            || tokio::time::timeout(CLOSE_GRACE, self.link.died()).await.is_ok()
        {
            return true;
        }
        self.kill();
        tokio::time::timeout(KILL_CONFIRM, self.link.died()).await.is_ok()
    }

    /// Ends everything at once, by the kernel's hand.
    pub(super) fn kill(&self) {
        if let Some(group) = &self.holdings.group {
            group.kill();
        }
        if let Some(pidfd) = self.link.pidfd() {
            // It may just have died.
            let _ended = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// What the sandbox used as a whole.
    fn total_usage(&self) -> Result<Usage, EngineError> {
        let mut usage = Usage::default();
        let known = {
            let memory = self.remember();
            memory.is_last.then_some(memory.account.baseline.counters)
        };
        let counters = known.map_or_else(|| self.counters(), Ok)?;
        let memory = self.remember();
        let used = &memory.account.used;
        (usage.cpu_user, usage.cpu_system) = (used.cpu_user, used.cpu_system);
        // What nobody waited for, such as what a command left running, is not split.
        let before = memory.start.cpu.unwrap_or_default();
        let total = counters
            .cpu
            .unwrap_or_default()
            .saturating_sub(before)
            .saturating_sub(memory.account.baseline.guest_cpu);
        usage.cpu_user += total.saturating_sub(usage.cpu_user + usage.cpu_system);
        usage.memory_peak_bytes = counters.memory_peak_bytes;
        // The guest is one of them; and where nothing has run, the count is of the sandbox before.
        let commands = |peak: u64| if memory.has_run { peak.saturating_sub(1) } else { 0 };
        usage.processes_peak = counters.processes_peak.map(commands);
        drop(memory);
        Ok(usage)
    }
}

impl SubprocessSandbox {
    /// Hands the sandbox's slot on, if it was in one that is as good as new; otherwise what is left of it to the janitor.
    fn give_up(&mut self) {
        let is_clean = |open: &mut Open| {
            let memory = open.memory.get_mut().unwrap_or_else(PoisonError::into_inner);
            open.holdings.slot.is_some() && memory.is_last && memory.is_clean
        };
        if let Some(open) = self.open.take_if(is_clean) {
            Returning::new(&self.inner, open.holdings, open.link.into_parts()).go_on();
        }
        self.bury();
    }

    fn bury(&mut self) {
        let Some(Open { link, holdings, .. }) = self.open.take() else { return };
        if let Some(slot) = &holdings.slot {
            self.inner.resources().slots.pool.discard(&slot.size);
        }
        let Parts { socket, guest, pidfd, mounts, .. } = link.into_parts();
        let channel = Some(socket.into_inner());
        self.inner.bury(Remains { holdings, guest, pidfd, channel, mounts });
    }
}

impl Drop for SubprocessSandbox {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.kill();
        }
        self.bury();
    }
}
