//! The input, options and outcome of a command in a sandbox.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::output::OutputSink;
use crate::model::Signal;
use crate::result::{Captured, Ending, Enforcement, Evidence, Usage, Verdict, ending, judge};

/// What a command reads from its standard input.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdin {
    /// End-of-file at once.
    #[default]
    Empty,
    /// These bytes, then end-of-file.
    Bytes(Bytes),
    /// Whatever is sent, until the sender is dropped. Pieces are passed on as the command reads.
    Stream(mpsc::Receiver<Bytes>),
}

/// What happens to what a command leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnExit {
    /// Processes that it left in the background go on until the sandbox is closed.
    #[default]
    KeepBackground,
    /// They are ended and counted before the exit is reported; files can still be read.
    KillBackground,
    /// They are ended and counted, and nothing more will be asked of the sandbox but to close.
    Seal,
}

/// What goes in and comes out of a command, and when to stop it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ExecOptions {
    /// What it reads.
    pub stdin: Stdin,
    /// Where its output goes while it comes.
    pub output: OutputSink,
    /// How many bytes of each output stream are kept; `None` is 1 MiB.
    pub capture_bytes: Option<u64>,
    /// Its wall limit, if another than the sandbox's.
    pub wall: Option<Duration>,
    /// Its CPU limit, if another than the sandbox's.
    pub cpu: Option<Duration>,
    /// Its output limit, if another than the sandbox's.
    pub output_bytes: Option<u64>,
    /// Signals to send to it while it runs.
    pub signals: Option<mpsc::Receiver<Signal>>,
    /// Ends it when cancelled.
    pub cancel: CancellationToken,
    /// What happens to what it leaves behind.
    pub after: OnExit,
}

impl ExecOptions {
    /// Empty input, the sandbox's limits, no live output.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the command reads.
    #[must_use]
    pub fn with_stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets where its output goes while it comes.
    #[must_use]
    pub fn with_output(mut self, output: OutputSink) -> Self {
        self.output = output;
        self
    }

    /// Sets how many bytes of each output stream are kept.
    #[must_use]
    pub fn with_capture_bytes(mut self, bytes: u64) -> Self {
        self.capture_bytes = Some(bytes);
        self
    }

    /// Sets its wall limit.
    #[must_use]
    pub fn with_wall(mut self, wall: Duration) -> Self {
        self.wall = Some(wall);
        self
    }

    /// Sets its CPU limit.
    #[must_use]
    pub fn with_cpu(mut self, cpu: Duration) -> Self {
        self.cpu = Some(cpu);
        self
    }

    /// Sets its output limit.
    #[must_use]
    pub fn with_output_bytes(mut self, bytes: u64) -> Self {
        self.output_bytes = Some(bytes);
        self
    }

    /// Sets where signals for it come from.
    #[must_use]
    pub fn with_signals(mut self, signals: mpsc::Receiver<Signal>) -> Self {
        self.signals = Some(signals);
        self
    }

    /// Sets what ends it when cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets what happens to what it leaves behind.
    #[must_use]
    pub fn with_on_exit(mut self, after: OnExit) -> Self {
        self.after = after;
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExecOutcome {
    /// What is known, in the order in which it became known.
    pub evidence: Vec<Evidence>,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// What it used. `setup` is the time from the call to the start of the program.
    pub usage: Usage,
    /// What isolated it.
    pub enforcement: Enforcement,
}

impl ExecOutcome {
    /// An exit with this evidence.
    #[must_use]
    pub fn new(evidence: Vec<Evidence>) -> Self {
        Self { evidence, stdout: Captured::empty(), stderr: Captured::empty(), ..Self::default() }
    }

    /// Sets what was written.
    #[must_use]
    pub fn with_output(mut self, stdout: Captured, stderr: Captured) -> Self {
        self.stdout = stdout;
        self.stderr = stderr;
        self
    }

    /// Sets what was used.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Sets what isolated it.
    #[must_use]
    pub fn with_enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    /// What became of the command.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        judge(&self.evidence)
    }

    /// How it ended by itself, where anyone saw it.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        ending(&self.evidence)
    }
}
