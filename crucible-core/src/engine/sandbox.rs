//! An open sandbox: the trait, and what goes in and comes out of a command.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::error::EngineError;
use crate::engine::output::OutputSink;
use crate::engine::plan::PlannedFile;
use crate::model::command::Command;
use crate::model::id::EvaluationId;
use crate::model::layer::Isolation;
use crate::model::limits::Limits;
use crate::model::network::Network;
use crate::model::path::{SandboxPath, SandboxPathError};
use crate::model::signal::Signal;
use crate::result::captured::Captured;
use crate::result::enforcement::Enforcement;
use crate::result::evidence::Evidence;
use crate::result::judge::{ending, judge};
use crate::result::usage::Usage;
use crate::result::verdict::{Ending, Verdict};

/// What a sandbox is to be like.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SandboxSpec {
    /// How much everything in it may use. Wall, CPU and output are for each command; memory, processes, disk and
    /// inodes for the sandbox as a whole.
    pub limits: Limits,
    /// What it may reach.
    pub network: Network,
    /// Which layers it must have.
    pub isolation: Isolation,
    /// Files to put before the first command.
    pub files: Vec<PlannedFile>,
    /// The image whose files it has, for an engine that runs images. `None` is what the engine has for the language.
    pub image: Option<String>,
    /// The name of the language that is run in it, if it is one.
    pub language: Option<String>,
    /// The evaluation that it is for, where that has an id.
    pub evaluation: Option<EvaluationId>,
}

impl SandboxSpec {
    /// A sandbox with default limits, no network and no files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what it may reach.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets which layers it must have.
    #[must_use]
    pub fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets the files to put before the first command.
    #[must_use]
    pub fn with_files(mut self, files: Vec<PlannedFile>) -> Self {
        self.files = files;
        self
    }

    /// Sets the image whose files it has.
    #[must_use]
    pub fn with_image(mut self, image: Option<String>) -> Self {
        self.image = image;
        self
    }

    /// Says which language is run in it.
    #[must_use]
    pub fn with_language(mut self, language: Option<String>) -> Self {
        self.language = language;
        self
    }

    /// Says which evaluation it is for.
    #[must_use]
    pub fn with_evaluation(mut self, evaluation: Option<EvaluationId>) -> Self {
        self.evaluation = evaluation;
        self
    }
}

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

/// What kind of thing a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a FIFO, a socket, a device: nothing that is read.
    Other,
}

/// An entry of a directory of a sandbox.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name: any bytes but NUL and `/`.
    pub name: Bytes,
    /// What it is.
    pub kind: EntryKind,
    /// Its size, for a regular file.
    pub size_bytes: u64,
    /// Whether anyone may execute it.
    pub executable: bool,
}

impl Entry {
    /// A directory entry.
    #[must_use]
    pub fn new(name: Bytes, kind: EntryKind, size_bytes: u64, executable: bool) -> Self {
        Self { name, kind, size_bytes, executable }
    }

    /// The path of this entry of the directory at `directory`.
    ///
    /// # Errors
    /// The name is not UTF-8, or makes no [`SandboxPath`].
    pub fn path_in(&self, directory: &SandboxPath) -> Result<SandboxPath, SandboxPathError> {
        match std::str::from_utf8(&self.name) {
            Ok(name) => directory.join(name),
            Err(_) => Err(SandboxPathError::Component { path: self.shown() }),
        }
    }

    /// The name as text: bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?}, {:?}, {} bytes)", self.shown(), self.kind, self.size_bytes)
    }
}

/// The entries of a directory of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The entries, in no order, without `.` and `..`.
    pub entries: Vec<Entry>,
    /// Whether there were more than the engine lists.
    pub truncated: bool,
}

impl Listing {
    /// A listing of these entries.
    #[must_use]
    pub fn new(entries: Vec<Entry>, truncated: bool) -> Self {
        Self { entries, truncated }
    }
}

/// An open, isolated place with a file system of its own, in which commands run one after another.
///
/// Dropping a sandbox without closing it ends everything in it, in the background.
#[async_trait]
pub trait Sandbox: fmt::Debug + Send + Sync + 'static {
    /// Runs a command to its end.
    ///
    /// # Behavior
    /// - Commands run one at a time: a second call waits until the first has ended.
    /// - A program that cannot be executed is an [`ExecOutcome`] with [`Evidence::ExecFailed`], not an error.
    /// - A limit that is reached ends the command; what is kept of its output is in the exit.
    /// - A process that the command left behind and that holds its output open does not delay the exit for more than
    ///   the engine's drain deadline.
    /// - With [`OnExit::KillBackground`] and [`OnExit::Seal`], nothing of the command lives any more when this returns.
    /// - A relative program or directory starts at the working directory, which is `/box`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the command, and with it the sandbox. To end the command alone, cancel
    /// [`ExecOptions::cancel`].
    ///
    /// # Errors
    /// The infrastructure failed; [`EngineError::target_started`] says whether the command had started.
    async fn exec(&self, command: &Command, io: ExecOptions) -> Result<ExecOutcome, EngineError>;

    /// Writes a file, in place of one that is there; makes the directories above it.
    ///
    /// # Behavior
    /// - The file belongs to the target's user.
    /// - A link at the path, or on the way, is not followed: the one at the path is replaced, one on the way refused.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of the file.
    ///
    /// # Errors
    /// [`EngineError::File`] if the guest's file system stands in the way, else the infrastructure failed.
    async fn write(
        &self,
        path: &SandboxPath,
        content: Bytes,
        executable: bool,
    ) -> Result<(), EngineError>;

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Behavior
    /// - Links, FIFOs, sockets and devices are refused, and opening them never blocks.
    /// - A file of more than `limit` bytes is refused; one that grows while it is read is cut at `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the sandbox.
    ///
    /// # Errors
    /// [`EngineError::File`] if the guest's file system stands in the way, else the infrastructure failed.
    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError>;

    /// Lists a directory.
    ///
    /// # Behavior
    /// - Names are given as they are: they can be anything but empty, `.`, `..`, or with `/` or NUL.
    /// - The number of entries is bounded; [`Listing::truncated`] says that there were more.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the sandbox.
    ///
    /// # Errors
    /// [`EngineError::File`] if the guest's file system stands in the way, else the infrastructure failed.
    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError>;

    /// Ends everything in the sandbox and gives back what it held.
    ///
    /// # Behavior
    /// - When this returns, no process of the sandbox lives.
    /// - The usage is the sandbox's as a whole.
    ///
    /// # Cancel safety
    /// Dropping the future lets the closing go on in the background.
    ///
    /// # Errors
    /// The infrastructure failed, or a process could not be confirmed dead in time.
    async fn close(self: Box<Self>) -> Result<Usage, EngineError>;
}
