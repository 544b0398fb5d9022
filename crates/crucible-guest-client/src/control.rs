//! Following one command to its end, and ending it when it must.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crucible_core::{EngineError, KillReason, OnExit, Signal};
use crucible_guest::protocol::{
    self, CgroupCounts, Confinement, ExecFailed, Exited, Failure, FrameKind, Started, Step,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::channel::{Channel, ChannelExt as _};
use crate::counters::CgroupCounters;
use crate::desk::{Disconnected, PendingRequest};
use crate::errors::{failed_step, protocol, why};
use crate::files;
use crate::frames::Frame;
use crate::ledger::KillLog;
use crate::meter::Meter;
use crate::watch::CpuWatch;

/// How long it may take until a sandbox stands and its command runs.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the guest may take to end a command before the guest itself is ended.
const KILL_GRACE: Duration = Duration::from_millis(500);
/// How long a killed sandbox may take to be confirmed dead.
pub const KILL_CONFIRM: Duration = Duration::from_secs(2);
/// By how much the guest's own deadline is later than the host's, which decides.
const GUEST_DEADLINE_MARGIN: Duration = Duration::from_secs(1);
/// How long whoever gets live output may take for the rest, after the command has ended.
pub const RECEIVER_GRACE: Duration = Duration::from_secs(5);

/// How a command ended, as far as the guest said.
#[derive(Debug, Default)]
pub struct End {
    /// The command's status file right after it was executed; empty if that was not asked for.
    pub status: Option<Bytes>,
    /// What the kernel said of the command, right before it was executed.
    pub held: Option<Confinement>,
    /// Why it was not executed.
    pub exec_failed: Option<Failure>,
    /// How it ended.
    pub exited: Option<Exited>,
    /// What the guest saw counted, where it does: right before the command's end was told.
    pub counted: Option<CgroupCounts>,
    /// How many processes it left behind, which were ended.
    pub survivors: u64,
    /// Something could not be confirmed dead.
    pub unconfirmed: bool,
    /// The guest is gone.
    pub gone: bool,
    /// From the request to the start of the command.
    pub setup: Duration,
}

/// What happens to what a command leaves behind, in the words of the protocol.
#[must_use]
pub fn wire(after: OnExit) -> protocol::OnExit {
    match after {
        OnExit::KillBackground => protocol::OnExit::KillBackground,
        OnExit::Seal => protocol::OnExit::Seal,
        _ => protocol::OnExit::KeepBackground,
    }
}

/// When the guest ends a command with such a wall limit by itself, should the host not do it, in microseconds.
#[must_use]
pub fn guest_deadline_us(wall: Duration) -> u64 {
    u64::try_from(wall.saturating_add(GUEST_DEADLINE_MARGIN).as_micros()).unwrap_or(u64::MAX)
}

/// The two sides of a conversation about one command.
pub struct Exchange<'a, C, K> {
    /// The way to the guest.
    pub channel: &'a C,
    /// The request that the command is.
    pub question: PendingRequest<'a>,
    /// Ends the guest, and everything with it, without asking it.
    pub kill: K,
}

impl<C, K> fmt::Debug for Exchange<'_, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("question", &self.question).finish_non_exhaustive()
    }
}

/// Follows one command to its end, and ends it when it must.
#[derive(Debug)]
pub struct CommandSupervisor<'a, C, K> {
    exchange: Exchange<'a, C, K>,
    after: OnExit,
    wall: Duration,
    began: Instant,
    /// Set when it is heard that the command runs.
    started: Option<&'a AtomicBool>,
    ledger: KillLog,
    end: End,
}

/// What there is still to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Wait,
    Done,
}

impl<'a, C: Channel, K: Fn() + Send + Sync> CommandSupervisor<'a, C, K> {
    /// A command that was asked for at `began`.
    pub fn new(
        exchange: Exchange<'a, C, K>,
        after: OnExit,
        wall: Duration,
        began: Instant,
    ) -> Self {
        Self {
            exchange,
            after,
            wall,
            began,
            started: None,
            ledger: KillLog::default(),
            end: End::default(),
        }
    }

    /// Sets this when it is heard that the command runs.
    #[must_use]
    pub const fn telling(mut self, started: &'a AtomicBool) -> Self {
        self.started = Some(started);
        self
    }

    /// Whether the command has ended and, if that was wanted, the guest has said that it is alone.
    #[must_use]
    pub const fn leaves_nobody(&self) -> bool {
        self.end.exited.is_some() && !self.end.unconfirmed && !self.end.gone
    }

    /// Whom we killed and why, and how the command ended.
    #[must_use]
    pub fn into_end(self) -> (KillLog, End) {
        (self.ledger, self.end)
    }

    /// Follows the command until it has ended, and what it left behind with it, if that is wanted. It is ended where a
    /// limit is reached, or `cancel` is.
    ///
    /// # Errors
    /// The guest broke the protocol, or the command was not started for reasons of ours.
    pub async fn run<F: Fn() -> Option<Duration> + Send + Sync>(
        &mut self,
        meter: &Meter,
        watch: &CpuWatch<'_, C, F>,
        cancel: &CancellationToken,
        mut signals: Option<mpsc::Receiver<Signal>>,
    ) -> Result<(), EngineError> {
        // Both count from the command's start, and are not looked at before.
        let (wall, cpu) = (tokio::time::sleep(self.wall), watch.reached());
        // Until the command runs; then for the steps of ending it.
        let patience = tokio::time::sleep(SETUP_TIMEOUT);
        tokio::pin!(wall, cpu, patience);
        let channel = self.exchange.channel;
        loop {
            let killed = self.ledger.has_killed();
            let started = self.end.status.is_some();
            let waiting_to_start = !started;
            let (reason, proof) = tokio::select! {
                biased;
                answer = channel.answer(&self.exchange.question) => match answer {
                    Ok(frame) => {
                        if self.heard(&frame)? == Next::Done {
                            return Ok(());
                        }
                        if waiting_to_start && self.end.status.is_some() {
                            wall.set(tokio::time::sleep(self.wall.saturating_sub(self.ledger.elapsed())));
                        }
                        if self.end.exited.is_some() {
                            // What was left behind is being ended.
                            patience.as_mut().reset(tokio::time::Instant::now() + KILL_CONFIRM);
                        }
                        continue;
                    }
                    Err(ended) => return self.lost(ended),
                },
                () = cancel.cancelled(), if !killed => (KillReason::Cancelled, None),
                () = meter.exceeded(), if !killed => (KillReason::Output, Some(meter.proof())),
                proof = &mut cpu, if started && !killed => (KillReason::Cpu, Some(proof)),
                () = &mut wall, if started && !killed => (KillReason::Wall, None),
                signal = next_signal(&mut signals), if started => {
                    self.signal(signal, false).await;
                    continue;
                }
                () = &mut patience, if killed || waiting_to_start || self.end.exited.is_some() => {
                    if self.escalate() == Next::Done {
                        return Ok(());
                    }
                    patience.as_mut().reset(tokio::time::Instant::now() + KILL_CONFIRM);
                    continue;
                }
            };
            self.ledger.kill(reason, proof);
            patience.as_mut().reset(tokio::time::Instant::now() + KILL_GRACE);
            self.signal(Signal::KILL, self.after != OnExit::KeepBackground).await;
        }
    }

    /// Takes note of what the guest says.
    fn heard(&mut self, frame: &Frame) -> Result<Next, EngineError> {
        let started = self.end.status.is_some();
        let malformed = |_| protocol("what it says of the command is malformed", started);
        match frame.kind {
            FrameKind::Started if !started => {
                let said = Started::decode(&frame.payload).map_err(malformed)?;
                self.end.status = Some(frame.payload.slice_ref(said.status));
                self.end.held = Some(said.confinement);
                // The guest's word, as far as that can be.
                let since = self.began.elapsed();
                let ran = Duration::from_micros(said.ran_us).min(since);
                self.end.setup = since - ran;
                self.ledger.begin(ran);
                if let Some(started) = self.started {
                    started.store(true, Ordering::Relaxed);
                }
                Ok(Next::Wait)
            }
            FrameKind::ExecFailed if !started => {
                self.end.exec_failed =
                    Some(ExecFailed::decode(&frame.payload).map_err(malformed)?.0);
                self.end.setup = self.began.elapsed();
                Ok(Next::Done)
            }
            FrameKind::Failed if !started => {
                let failure = Failure::decode(&frame.payload).map_err(malformed)?;
                let channel = self.exchange.channel;
                Err(match (failure.step, channel.desk().take_unasked()) {
                    (Step::INPUT, Some(input)) => files::input_failure(channel, &input),
                    _ => failed_step(failure),
                })
            }
            FrameKind::CgroupCounts
                if started && self.end.counted.is_none() && self.end.exited.is_none() =>
            {
                self.end.counted = Some(CgroupCounts::decode(&frame.payload).map_err(malformed)?);
                Ok(Next::Wait)
            }
            FrameKind::Exited if started && self.end.exited.is_none() => {
                let exited = Exited::decode(&frame.payload).map_err(malformed)?;
                self.end.exited = Some(exited);
                self.end.survivors = u64::from(exited.survivors);
                Ok(if exited.empty || self.after == OnExit::KeepBackground {
                    Next::Done
                } else {
                    Next::Wait
                })
            }
            FrameKind::Empty if self.end.exited.is_some() => {
                let count = frame.payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                self.end.survivors =
                    count.map(u64::from).ok_or_else(|| malformed(protocol::Malformed))?;
                Ok(Next::Done)
            }
            kind => {
                Err(protocol(format!("it says of the command what cannot be: {kind:?}"), started))
            }
        }
    }

    /// The guest is gone, or talks nonsense.
    fn lost(&mut self, ended: Disconnected) -> Result<(), EngineError> {
        match ended {
            Disconnected::Gone => {
                self.end.gone = true;
                Ok(())
            }
            Disconnected::Error(_) => Err(why(ended, self.end.status.is_some())),
        }
    }

    /// Asks the guest to send a signal. One that does not listen is dealt with when patience ends.
    async fn signal(&self, signal: Signal, everything: bool) {
        let mut payload = [0; 5];
        if let Some((last, number)) = payload.split_last_mut() {
            number.copy_from_slice(&signal.number().to_le_bytes());
            *last = u8::from(everything);
        }
        let Exchange { channel, question, .. } = &self.exchange;
        let sent = channel.send(FrameKind::Signal, question.id(), &payload, &[]);
        let _sent = tokio::time::timeout(KILL_GRACE, sent).await;
    }

    /// The guest did not do what it was asked to: it is ended, and everything with it. The second time, we give up.
    fn escalate(&mut self) -> Next {
        if self.end.unconfirmed {
            return Next::Done;
        }
        self.end.unconfirmed = true;
        (self.exchange.kill)();
        Next::Wait
    }
}

impl End {
    /// What the guest saw counted.
    #[must_use]
    pub fn counters(&self) -> Option<CgroupCounters> {
        self.counted.map(CgroupCounters::from)
    }
}

async fn next_signal(signals: &mut Option<mpsc::Receiver<Signal>>) -> Signal {
    if let Some(receiver) = signals
        && let Some(signal) = receiver.recv().await
    {
        return signal;
    }
    std::future::pending().await
}
