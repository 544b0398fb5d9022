//! The input, options and outcome of a command in a sandbox.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::output::OutputSink;
use crate::model::Signal;
use crate::result::{Captured, Ending, Enforcement, Evidence, Usage, Verdict, ending, judge};

/// The standard input of a command.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdin {
    /// Immediate end-of-file.
    #[default]
    Empty,
    /// These bytes, then end-of-file.
    Bytes(Bytes),
    /// All pieces from the channel until the sender is dropped. The engine forwards a piece when
    /// the command can read it.
    Stream(mpsc::Receiver<Bytes>),
}

/// The treatment of the processes that a command leaves in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnExit {
    /// Background processes continue until the sandbox is closed.
    #[default]
    KeepBackground,
    /// The engine ends and counts background processes before it returns the exit. Files can still
    /// be read.
    KillBackground,
    /// The engine ends and counts background processes. Afterwards the caller only closes the
    /// sandbox.
    Seal,
}

/// The input, the output and the limits of a command.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ExecOptions {
    /// The standard input.
    pub stdin: Stdin,
    /// The receiver of live output.
    pub output: OutputSink,
    /// The number of bytes of each output stream to keep; `None` is 1 MiB.
    pub capture_bytes: Option<u64>,
    /// The wall limit, in place of the sandbox's.
    pub wall: Option<Duration>,
    /// The CPU limit, in place of the sandbox's.
    pub cpu: Option<Duration>,
    /// The output limit, in place of the sandbox's.
    pub output_bytes: Option<u64>,
    /// Signals to send to the running command.
    pub signals: Option<mpsc::Receiver<Signal>>,
    /// Ends the command when cancelled.
    pub cancel: CancellationToken,
    /// The treatment of background processes.
    pub after: OnExit,
}

impl ExecOptions {
    /// Creates options with empty input, the sandbox's limits and no live output.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the standard input.
    #[must_use]
    pub fn with_stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets the receiver of live output.
    #[must_use]
    pub fn with_output(mut self, output: OutputSink) -> Self {
        self.output = output;
        self
    }

    /// Sets the number of bytes of each output stream to keep.
    #[must_use]
    pub fn with_capture_bytes(mut self, bytes: u64) -> Self {
        self.capture_bytes = Some(bytes);
        self
    }

    /// Sets the wall limit.
    #[must_use]
    pub fn with_wall(mut self, wall: Duration) -> Self {
        self.wall = Some(wall);
        self
    }

    /// Sets the CPU limit.
    #[must_use]
    pub fn with_cpu(mut self, cpu: Duration) -> Self {
        self.cpu = Some(cpu);
        self
    }

    /// Sets the output limit.
    #[must_use]
    pub fn with_output_bytes(mut self, bytes: u64) -> Self {
        self.output_bytes = Some(bytes);
        self
    }

    /// Sets the channel of signals for the command.
    #[must_use]
    pub fn with_signals(mut self, signals: mpsc::Receiver<Signal>) -> Self {
        self.signals = Some(signals);
        self
    }

    /// Sets the token that ends the command when cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets the treatment of background processes.
    #[must_use]
    pub fn with_on_exit(mut self, after: OnExit) -> Self {
        self.after = after;
        self
    }
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExecOutcome {
    /// The facts, in the order in which the engine learnt them.
    pub evidence: Vec<Evidence>,
    /// The captured standard output.
    pub stdout: Captured,
    /// The captured standard error.
    pub stderr: Captured,
    /// The resources that the command used. `setup` is the time from the call to the start of the
    /// program.
    pub usage: Usage,
    /// The layers that isolated the command.
    pub enforcement: Enforcement,
}

impl ExecOutcome {
    /// Creates a result with evidence, and without output or usage.
    #[must_use]
    pub fn new(evidence: Vec<Evidence>) -> Self {
        Self { evidence, stdout: Captured::empty(), stderr: Captured::empty(), ..Self::default() }
    }

    /// Sets the captured output.
    #[must_use]
    pub fn with_output(mut self, stdout: Captured, stderr: Captured) -> Self {
        self.stdout = stdout;
        self.stderr = stderr;
        self
    }

    /// Sets the usage.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Sets the layers that isolated the command.
    #[must_use]
    pub fn with_enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    /// Returns the verdict that follows from the evidence.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        judge(&self.evidence)
    }

    /// Returns the command's own ending, if the evidence has one.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        ending(&self.evidence)
    }
}
