//! One command of a sandbox, from its options to its evidence.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crucible_core::{
    Command, EngineError, ExecOptions, InvalidInput, Limits, OnExit, OutputSink, Signal, Stdin,
};
use crucible_guest::protocol;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cgroup_counters::CgroupCounters;
use crate::channel::Channel;
use crate::command_limits::CommandLimits;
use crate::command_run::{CommandEnd, CommandRun};
use crate::command_supervisor::{CommandExchange, CommandSupervisor};
use crate::cpu_watch::CpuWatch;
use crate::evidence_builder::EvidenceBuilder;
use crate::output_meter::OutputMeter;
use crate::poison_on_drop::PoisonOnDrop;
use crate::request::ExecParameters;
use crate::sandbox_lock::SandboxLock;
use crate::usage_baseline::UsageBaseline;

/// The default number of captured bytes per output stream.
const CAPTURE_DEFAULT: u64 = 1024 * 1024;
/// The delay of the guest's own deadline after the host's, which decides.
const GUEST_DEADLINE_MARGIN: Duration = Duration::from_secs(1);
/// The longest time that the receiver of live output may take for the remaining output after the
/// command has ended.
pub const RECEIVER_GRACE: Duration = Duration::from_secs(5);

/// Returns the protocol's value of an [`OnExit`].
#[must_use]
pub fn wire_on_exit(on_exit: OnExit) -> protocol::OnExit {
    match on_exit {
        OnExit::KillBackground => protocol::OnExit::KillBackground,
        OnExit::Seal => protocol::OnExit::Seal,
        _ => protocol::OnExit::KeepBackground,
    }
}

/// Returns the guest's own deadline, in microseconds, for a command with this wall limit. It
/// applies if the host stalls.
#[must_use]
pub fn guest_deadline_us(wall: Duration) -> u64 {
    u64::try_from(wall.saturating_add(GUEST_DEADLINE_MARGIN).as_micros()).unwrap_or(u64::MAX)
}

/// The standard streams of one command, as its options define them.
#[derive(Debug)]
pub struct CommandIo {
    /// The input.
    pub stdin: Stdin,
    /// The receiver of live output.
    pub output: OutputSink,
    /// The number of captured bytes per output stream.
    pub capture_bytes: usize,
}

/// The measurements of a running command.
pub struct CommandMeters<'a, F> {
    /// The count of its output.
    pub output: &'a OutputMeter,
    /// CPU time of the sandbox as the host counts it. If it returns `None`, the guest is asked.
    pub cpu_time: F,
    /// The number of CPUs that the command can use in parallel.
    pub cpus: u32,
    /// Set when the guest reports that the command runs.
    pub started: Option<&'a AtomicBool>,
}

impl<F> fmt::Debug for CommandMeters<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandMeters")
            .field("output", &self.output)
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

/// One command of a sandbox: the steps that do not depend on how the engine transports frames and
/// streams.
///
/// An engine calls [`begin`](Self::begin), sends the request with [`parameters`](Self::parameters),
/// calls [`supervise`](Self::supervise) with its streams, builds the evidence with
/// [`evidence_builder`](Self::evidence_builder), and calls [`finish`](Self::finish). Dropping the
/// session before that poisons the sandbox.
#[derive(Debug)]
pub struct CommandSession<'a> {
    /// The counters before the command.
    pub baseline: UsageBaseline,
    limits: CommandLimits,
    on_exit: OnExit,
    cancel: CancellationToken,
    signals: Option<mpsc::Receiver<Signal>>,
    requested_at: Instant,
    poison: PoisonOnDrop<'a>,
}

impl<'a> CommandSession<'a> {
    /// Begins a command in a sandbox with these limits and with its counters at `baseline`.
    ///
    /// # Errors
    /// Returns an error if the command is invalid, or if a secret of it was lost.
    pub fn begin(
        command: &Command,
        options: ExecOptions,
        limits: &Limits,
        lock: &'a SandboxLock,
        baseline: UsageBaseline,
    ) -> Result<(Self, CommandIo), EngineError> {
        InvalidInput::check(command.problems("command"))?;
        if let Some(name) = command.lost_secrets().next() {
            return Err(EngineError::SecretLost { name: name.to_owned() });
        }
        let requested_at = Instant::now();
        let poison = lock.poison_on_drop();
        let ExecOptions {
            stdin,
            output,
            capture_bytes,
            wall,
            cpu,
            output_bytes,
            signals,
            cancel,
            after: on_exit,
            ..
        } = options;
        let limits = CommandLimits {
            wall: wall.unwrap_or(limits.wall),
            cpu: cpu.unwrap_or(limits.cpu),
            output_bytes: output_bytes.unwrap_or(limits.output_bytes),
        };
        let capture_bytes = capture_bytes.unwrap_or(CAPTURE_DEFAULT);
        let capture_bytes = usize::try_from(capture_bytes).unwrap_or(usize::MAX);
        let session = Self { baseline, limits, on_exit, cancel, signals, requested_at, poison };
        Ok((session, CommandIo { stdin, output, capture_bytes }))
    }

    /// Returns the limits of the command.
    #[must_use]
    pub fn limits(&self) -> CommandLimits {
        self.limits
    }

    /// Returns the action on the command's exit.
    #[must_use]
    pub fn on_exit(&self) -> OnExit {
        self.on_exit
    }

    /// Returns `true` if the caller can send signals to the command.
    #[must_use]
    pub fn accepts_signals(&self) -> bool {
        self.signals.is_some()
    }

    /// Returns the parameters of the request: streams in frames, with the status file, and with an
    /// immediate report of the start.
    #[must_use]
    pub fn parameters<'r>(&self, rlimits: &'r [u8]) -> ExecParameters<'r> {
        ExecParameters {
            stdio: 0,
            variables: &[],
            on_exit: wire_on_exit(self.on_exit),
            deadline_us: guest_deadline_us(self.limits.wall),
            status: true,
            quiet_us: 0,
            lend_mounts: false,
            rlimits,
        }
    }

    /// Follows the command to its end while `output` and `input` transfer its streams.
    ///
    /// `output` and `input` may be incomplete afterwards. The engine decides how long it continues
    /// to poll them.
    ///
    /// # Errors
    /// See [`CommandSupervisor::run`].
    pub async fn supervise<C, K, F, O, I>(
        &mut self,
        exchange: CommandExchange<'_, C, K>,
        meters: CommandMeters<'_, F>,
        mut output: Pin<&mut O>,
        mut input: Pin<&mut I>,
    ) -> Result<CommandRun, EngineError>
    where
        C: Channel,
        K: Fn() + Send + Sync,
        F: Fn() -> Option<Duration> + Send + Sync,
        O: Future<Output = ()> + Send,
        I: Future<Output = ()> + Send,
    {
        let watch = CpuWatch {
            limit: self.limits.cpu,
            before: self.baseline.counters.cpu.unwrap_or_default(),
            counted: meters.cpu_time,
            channel: exchange.channel,
            cpus: meters.cpus,
        };
        let mut supervisor =
            CommandSupervisor::new(exchange, self.on_exit, self.limits.wall, self.requested_at)
                .with_started_flag(meters.started);
        let (mut output_ended, mut input_ended) = (false, false);
        {
            let supervision =
                supervisor.run(meters.output, &watch, &self.cancel, self.signals.take());
            tokio::pin!(supervision);
            loop {
                tokio::select! {
                    // The supervision comes first: it decides whether output is read at all.
                    biased;
                    done = &mut supervision => break done?,
                    () = &mut output, if !output_ended => output_ended = true,
                    () = &mut input, if !input_ended => input_ended = true,
                }
            }
        }
        Ok(CommandRun { output_ended, ..supervisor.into_run() })
    }

    /// Returns the builder of the command's evidence.
    ///
    /// `now` are the counters after the command, `memory_limit` is the sandbox's limit, and
    /// `output_bytes` counts both output streams.
    #[must_use]
    pub fn evidence_builder(
        &self,
        run: CommandRun,
        now: CgroupCounters,
        memory_limit: u64,
        output_bytes: u64,
    ) -> EvidenceBuilder {
        EvidenceBuilder {
            before: self.baseline,
            now,
            limits: self.limits,
            memory_limit,
            output_bytes,
            run,
        }
    }

    /// Ends the session. The sandbox accepts further commands, unless this one sealed it or the
    /// guest is gone.
    pub fn finish(self, end: &CommandEnd) {
        if self.on_exit != OnExit::Seal && !end.gone {
            self.poison.disarm();
        }
    }
}
