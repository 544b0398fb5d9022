//! The parts of an open sandbox.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crucible_core::{EngineError, Limits, Usage};
use crucible_guest_client::errors::setup;
use crucible_guest_client::{
    CLOSE_GRACE, CgroupCounters, GuestSandbox, KILL_CONFIRM, SandboxLock, UsageAccount,
    UsageBaseline,
};
use rustix::process::Signal;

use crate::linux::cgroup::SandboxCgroup;
use crate::linux::channel::{GuestChannel, GuestSocket};
use crate::linux::egress::EgressProxy;
use crate::linux::interpreter::WaitingInterpreter;
use crate::linux::resources::Reservation;

/// The longest time that a thread blocks for the end of an exiting guest, which takes a fraction of
/// a millisecond. Sleeping as a task, and the wake-up by another thread, take longer.
const EXIT_POLL: Duration = Duration::from_micros(300);

/// The parts of an open sandbox.
#[derive(Debug)]
pub(super) struct OpenSandbox {
    pub(super) channel: GuestChannel,
    pub(super) reservation: Reservation,
    pub(super) limits: Limits,
    /// The proxy of a sandbox with an allow-list.
    pub(super) proxy: Option<EgressProxy>,
    pub(super) lock: SandboxLock,
    history: Mutex<SandboxHistory>,
    /// An interpreter that waits for its program.
    waiting: Mutex<Option<WaitingInterpreter>>,
}

/// The state that a sandbox keeps between its commands.
#[derive(Debug, Default)]
pub(super) struct SandboxHistory {
    /// The usage up to the end of the last command.
    pub(super) account: UsageAccount,
    /// The counters before the first command.
    start: CgroupCounters,
    /// A command has run.
    pub(super) has_run: bool,
    /// The last command sealed the sandbox, and no process is left.
    pub(super) is_over: bool,
    /// The last command ended by itself, without a violation, so that its slot can be recycled.
    pub(super) is_regular: bool,
    /// The guest was the only process, and was killed.
    is_killed: bool,
}

impl GuestSandbox for OpenSandbox {
    type Channel = GuestChannel;

    fn channel(&self) -> &GuestChannel {
        &self.channel
    }

    fn lock(&self) -> &SandboxLock {
        &self.lock
    }

    async fn abort(&self, error: EngineError) -> EngineError {
        self.wait_for_pidfd().await;
        self.kill();
        error
    }
}

impl OpenSandbox {
    /// Creates a sandbox with its guest at the other end of `socket`.
    pub(super) fn new(mut reservation: Reservation, limits: Limits, socket: GuestSocket) -> Self {
        let start = reservation.group.as_ref().map(SandboxCgroup::start).unwrap_or_default();
        let channel = match &mut reservation.slot {
            Some(slot) => GuestChannel::in_slot(socket, std::mem::take(&mut slot.reader)),
            None => GuestChannel::new(socket),
        };
        let account = UsageAccount::new(start);
        Self {
            channel,
            reservation,
            limits,
            proxy: None,
            lock: SandboxLock::new(),
            history: Mutex::new(SandboxHistory { account, start, ..SandboxHistory::default() }),
            waiting: Mutex::new(None),
        }
    }

    /// Stores an interpreter that waits for its program.
    pub(super) fn set_waiting(&self, waiting: WaitingInterpreter) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
    }

    /// Takes the waiting interpreter, if there is one.
    pub(super) fn take_waiting(&self) -> Option<WaitingInterpreter> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Locks the history.
    pub(super) fn history(&self) -> MutexGuard<'_, SandboxHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the sandbox's slot can open another sandbox.
    pub(super) fn is_recyclable(&mut self) -> bool {
        let history = self.history.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.reservation.slot.is_some() && history.is_over && history.is_regular
    }

    /// Returns the counters at the end of the last command.
    pub(super) fn baseline(&self) -> UsageBaseline {
        self.history().account.baseline
    }

    /// Reads the kernel's counters. They are empty without a cgroup.
    pub(super) fn counters(&self) -> Result<CgroupCounters, EngineError> {
        match &self.reservation.group {
            Some(group) => group.counters().map_err(|error| setup("read a cgroup", error)),
            None => Ok(CgroupCounters::default()),
        }
    }

    /// Kills every process of the sandbox.
    pub(super) fn kill(&self) {
        if let Some(group) = &self.reservation.group {
            group.kill();
        }
        if let Some(pidfd) = self.channel.pidfd() {
            // The guest may have died already.
            let _killed = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// Kills the guest if the kernel counts no other process. Returns `true` if it did.
    ///
    /// No untrusted process is alive then, and none can start. The reaper waits for the guest's
    /// end, and releases no resource before it.
    pub(super) fn kill_lone_guest(&self) -> bool {
        let count =
            self.reservation.group.as_ref().and_then(|group| group.processes().ok().flatten());
        let is_alone = count.is_some_and(|count| count <= 1);
        let is_killed = is_alone
            && self.channel.pidfd().is_some_and(|pidfd| {
                let killed = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
                matches!(killed, Ok(()) | Err(rustix::io::Errno::SRCH))
            });
        self.history().is_killed = is_killed;
        is_killed
    }

    /// Waits for the death of an exiting guest, and kills it after a grace period. Returns `false`
    /// if it is still alive.
    pub(super) async fn confirm_death(&self) -> bool {
        if self.reservation.slot.is_some() {
            if tokio::time::timeout(CLOSE_GRACE, self.channel.died()).await.is_ok() {
                return true;
            }
            self.kill();
            let died = tokio::time::timeout(KILL_CONFIRM, self.channel.died()).await;
            // If the slot has ended too, no process reports the end of the guest.
            return died.is_ok() || self.channel.dies_within(EXIT_POLL);
        }
        if self.channel.dies_within(EXIT_POLL)
            || tokio::time::timeout(CLOSE_GRACE, self.channel.died()).await.is_ok()
        {
            return true;
        }
        self.kill();
        tokio::time::timeout(KILL_CONFIRM, self.channel.died()).await.is_ok()
    }

    /// Waits until the sandbox is closed or its death is left to the reaper. Returns `false` if its
    /// guest is still alive.
    pub(super) async fn wait_until_closed(&self) -> bool {
        self.history().is_killed || self.wait_until_dead().await
    }

    async fn wait_until_dead(&self) -> bool {
        if self.channel.has_exited() {
            return true;
        }
        self.wait_for_pidfd().await;
        if self.channel.pidfd().is_none() {
            // The spawner never created the guest.
            return true;
        }
        self.confirm_death().await
    }

    /// Reads the guest's pidfd, if no earlier read did.
    async fn wait_for_pidfd(&self) {
        let _found = tokio::time::timeout(CLOSE_GRACE, self.channel.wait_for_pidfd()).await;
    }

    /// Returns the usage of the whole sandbox.
    pub(super) fn total_usage(&self) -> Result<Usage, EngineError> {
        let mut usage = Usage::default();
        let known = {
            let history = self.history();
            history.is_over.then_some(history.account.baseline.counters)
        };
        let counters = known.map_or_else(|| self.counters(), Ok)?;
        let history = self.history();
        let used = &history.account.used;
        (usage.cpu_user, usage.cpu_system) = (used.cpu_user, used.cpu_system);
        // The kernel does not split the time of processes that were not reaped, such as background
        // processes.
        let before = history.start.cpu.unwrap_or_default();
        let total = counters
            .cpu
            .unwrap_or_default()
            .saturating_sub(before)
            .saturating_sub(history.account.baseline.guest_cpu);
        usage.cpu_user += total.saturating_sub(usage.cpu_user + usage.cpu_system);
        usage.memory_peak_bytes = counters.memory_peak_bytes;
        // The guest is one of the processes. Before the first command, the counter belongs to the
        // previous sandbox in the group.
        let commands = |peak: u64| if history.has_run { peak.saturating_sub(1) } else { 0 };
        usage.processes_peak = counters.processes_peak.map(commands);
        drop(history);
        Ok(usage)
    }
}
