//! An open sandbox: the trait, and what goes in and comes out of a command.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::EngineError;
use super::exec::{ExecOptions, ExecOutcome};
use super::listing::Listing;
use crate::model::{Command, SandboxPath};
use crate::result::Usage;

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
