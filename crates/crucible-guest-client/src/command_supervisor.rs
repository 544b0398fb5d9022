//! Supervision of one command: the host follows it to its end, and kills it at its limits.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crucible_core::{EngineError, Evidence, KillReason, OnExit, Signal};
use crucible_guest::protocol::{
    CgroupCounts, ExecFailed, Exited, Failure, FrameKind, Started, Step,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::channel::{Channel, ChannelExt as _};
use crate::command_run::{CommandEnd, CommandRun};
use crate::cpu_watch::CpuWatch;
use crate::errors::{Disconnected, failed_step, protocol};
use crate::files;
use crate::frame_decoder::Frame;
use crate::guest_sandbox::SETUP_TIMEOUT;
use crate::kill_log::KillLog;
use crate::output_meter::OutputMeter;
use crate::response_router::PendingRequest;

/// The longest time that the guest may take to end a command. The host then ends the guest.
const KILL_GRACE: Duration = Duration::from_millis(500);
/// The longest time to confirm the death of a killed sandbox.
pub const KILL_CONFIRM: Duration = Duration::from_secs(2);

/// The request of one command, and the means to end it.
pub struct CommandExchange<'a, C, K> {
    /// The channel to the guest.
    pub channel: &'a C,
    /// The request that started the command.
    pub request: PendingRequest<'a>,
    /// Kills the guest and all other processes of the sandbox, without the guest's help.
    pub kill: K,
}

impl<C, K> fmt::Debug for CommandExchange<'_, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandExchange").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Follows one command to its end, and kills it at its limits.
#[derive(Debug)]
pub struct CommandSupervisor<'a, C, K> {
    exchange: CommandExchange<'a, C, K>,
    on_exit: OnExit,
    wall: Duration,
    requested_at: Instant,
    /// Set when the guest reports that the command runs.
    started: Option<&'a AtomicBool>,
    kill_log: KillLog,
    end: CommandEnd,
}

/// Whether the supervision continues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Wait,
    Done,
}

/// A reason to kill the command, with the measurement that justifies it.
type KillOrder = (KillReason, Option<Evidence>);

impl<'a, C: Channel, K: Fn() + Send + Sync> CommandSupervisor<'a, C, K> {
    /// Creates the supervisor of a command that was requested at `requested_at`.
    pub fn new(
        exchange: CommandExchange<'a, C, K>,
        on_exit: OnExit,
        wall: Duration,
        requested_at: Instant,
    ) -> Self {
        Self {
            exchange,
            on_exit,
            wall,
            requested_at,
            started: None,
            kill_log: KillLog::default(),
            end: CommandEnd::default(),
        }
    }

    /// Sets `started` when the guest reports that the command runs.
    #[must_use]
    pub const fn with_started_flag(mut self, started: Option<&'a AtomicBool>) -> Self {
        self.started = started;
        self
    }

    /// Returns the kills and the end of the command.
    #[must_use]
    pub fn into_run(self) -> CommandRun {
        CommandRun { kill_log: self.kill_log, end: self.end, output_ended: false }
    }

    /// Follows the command until it has ended, together with the processes it left behind if
    /// [`OnExit`] demands that. Kills it when it reaches a limit or is cancelled.
    ///
    /// # Errors
    /// Returns an error if the guest broke the protocol, or if an infrastructure failure prevented
    /// the start.
    pub async fn run<F: Fn() -> Option<Duration> + Send + Sync>(
        &mut self,
        meter: &OutputMeter,
        watch: &CpuWatch<'_, C, F>,
        cancel: &CancellationToken,
        mut signals: Option<mpsc::Receiver<Signal>>,
    ) -> Result<(), EngineError> {
        // Both limits count from the command's start and are not polled before it.
        let (wall, cpu) = (tokio::time::sleep(self.wall), watch.reached());
        // The deadline for the start, later for each step of ending the command.
        let deadline = tokio::time::sleep(SETUP_TIMEOUT);
        tokio::pin!(wall, cpu, deadline);
        let channel = self.exchange.channel;
        loop {
            let killed = self.kill_log.has_killed();
            let started = self.has_started();
            let is_ending = killed || !started || self.end.exited.is_some();
            let (reason, proof): KillOrder = tokio::select! {
                biased;
                response = channel.response(&self.exchange.request) => {
                    let progress = match response {
                        Ok(frame) => self.handle(&frame)?,
                        Err(disconnected) => self.handle_disconnect(disconnected)?,
                    };
                    if progress == Progress::Done {
                        return Ok(());
                    }
                    if !started && self.has_started() {
                        let left = self.wall.saturating_sub(self.kill_log.elapsed());
                        wall.set(tokio::time::sleep(left));
                    }
                    if self.end.exited.is_some() {
                        // The guest now ends the remaining processes.
                        deadline.as_mut().reset(tokio::time::Instant::now() + KILL_CONFIRM);
                    }
                    continue;
                }
                () = cancel.cancelled(), if !killed => (KillReason::Cancelled, None),
                () = meter.exceeded(), if !killed => (KillReason::Output, Some(meter.proof())),
                proof = &mut cpu, if started && !killed => (KillReason::Cpu, Some(proof)),
                () = &mut wall, if started && !killed => (KillReason::Wall, None),
                signal = next_signal(&mut signals), if started => {
                    self.send_signal(signal, false).await;
                    continue;
                }
                () = &mut deadline, if is_ending => {
                    if self.escalate() == Progress::Done {
                        return Ok(());
                    }
                    deadline.as_mut().reset(tokio::time::Instant::now() + KILL_CONFIRM);
                    continue;
                }
            };
            self.kill_log.record_kill(reason, proof);
            deadline.as_mut().reset(tokio::time::Instant::now() + KILL_GRACE);
            self.send_signal(Signal::KILL, self.on_exit != OnExit::KeepBackground).await;
        }
    }

    fn has_started(&self) -> bool {
        self.end.status.is_some()
    }

    /// Handles a message of the guest about the command.
    fn handle(&mut self, frame: &Frame) -> Result<Progress, EngineError> {
        let started = self.has_started();
        match frame.kind {
            FrameKind::Started if !started => self.handle_started(frame),
            FrameKind::ExecFailed if !started => {
                let failed = ExecFailed::decode(&frame.payload);
                self.end.exec_failed = Some(failed.map_err(|_| malformed(started))?.0);
                self.end.setup = self.requested_at.elapsed();
                Ok(Progress::Done)
            }
            FrameKind::Failed if !started => {
                let failure = Failure::decode(&frame.payload).map_err(|_| malformed(started))?;
                let channel = self.exchange.channel;
                Err(match (failure.step, channel.router().take_quiet_failure()) {
                    (Step::INPUT, Some(input)) => files::input_failure(channel, &input),
                    _ => failed_step(failure),
                })
            }
            FrameKind::CgroupCounts
                if started && self.end.counted.is_none() && self.end.exited.is_none() =>
            {
                let counted = CgroupCounts::decode(&frame.payload);
                self.end.counted = Some(counted.map_err(|_| malformed(started))?);
                Ok(Progress::Wait)
            }
            FrameKind::Exited if started && self.end.exited.is_none() => {
                let exited = Exited::decode(&frame.payload).map_err(|_| malformed(started))?;
                self.end.exited = Some(exited);
                self.end.survivors = u64::from(exited.survivors);
                let is_last = exited.empty || self.on_exit == OnExit::KeepBackground;
                Ok(if is_last { Progress::Done } else { Progress::Wait })
            }
            FrameKind::Empty if self.end.exited.is_some() => {
                let count = frame.payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                self.end.survivors = count.map(u64::from).ok_or_else(|| malformed(started))?;
                Ok(Progress::Done)
            }
            kind => Err(protocol(format!("its message {kind:?} is out of order"), started)),
        }
    }

    fn handle_started(&mut self, frame: &Frame) -> Result<Progress, EngineError> {
        let message = Started::decode(&frame.payload).map_err(|_| malformed(false))?;
        self.end.status = Some(frame.payload.slice_ref(message.status));
        self.end.confinement = Some(message.confinement);
        // The guest reports how long the command has run. No command ran before it was requested.
        let since = self.requested_at.elapsed();
        let ran = Duration::from_micros(message.ran_us).min(since);
        self.end.setup = since - ran;
        self.kill_log.set_start(ran);
        if let Some(started) = self.started {
            started.store(true, Ordering::Relaxed);
        }
        Ok(Progress::Wait)
    }

    /// Handles a guest that is gone or broke the protocol.
    fn handle_disconnect(&mut self, disconnected: Disconnected) -> Result<Progress, EngineError> {
        match disconnected {
            Disconnected::Gone => {
                self.end.gone = true;
                Ok(Progress::Done)
            }
            Disconnected::Error(_) => Err(disconnected.into_error(self.has_started())),
        }
    }

    /// Asks the guest to send a signal. If the guest does not respond, the deadline ends it.
    async fn send_signal(&self, signal: Signal, everything: bool) {
        let mut payload = [0; 5];
        if let Some((last, number)) = payload.split_last_mut() {
            number.copy_from_slice(&signal.number().to_le_bytes());
            *last = u8::from(everything);
        }
        let CommandExchange { channel, request, .. } = &self.exchange;
        let sent = channel.send(FrameKind::Signal, request.id(), &payload, &[]);
        let _sent = tokio::time::timeout(KILL_GRACE, sent).await;
    }

    /// Kills a guest that missed its deadline, with all other processes of the sandbox. The second
    /// call gives up.
    fn escalate(&mut self) -> Progress {
        if self.end.unconfirmed {
            return Progress::Done;
        }
        self.end.unconfirmed = true;
        (self.exchange.kill)();
        Progress::Wait
    }
}

fn malformed(started: bool) -> EngineError {
    protocol("its message about the command is malformed", started)
}

async fn next_signal(signals: &mut Option<mpsc::Receiver<Signal>>) -> Signal {
    if let Some(receiver) = signals
        && let Some(signal) = receiver.recv().await
    {
        return signal;
    }
    std::future::pending().await
}
