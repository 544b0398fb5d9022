//! The sandbox trait.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::EngineError;
use super::exec::{ExecOptions, ExecOutcome};
use super::listing::Listing;
use crate::model::{Command, SandboxPath};
use crate::result::Usage;

/// An isolated environment with a private file system, in which commands run one after another.
///
/// Dropping a sandbox without closing it ends all its processes in the background.
#[async_trait]
pub trait Sandbox: fmt::Debug + Send + Sync + 'static {
    /// Runs a command to its end.
    ///
    /// # Behavior
    /// - Commands run one at a time: a second call waits until the first has ended.
    /// - If the kernel cannot execute the program, the result is an [`ExecOutcome`] with
    ///   [`Evidence::ExecFailed`](crate::Evidence::ExecFailed), not an error.
    /// - A reached limit ends the command. The result contains the captured output.
    /// - A background process can hold the output open. It delays the result by at most the
    ///   engine's drain deadline.
    /// - With [`OnExit::KillBackground`](crate::OnExit::KillBackground) or
    ///   [`OnExit::Seal`](crate::OnExit::Seal), no process of the command lives when this returns.
    /// - A relative program or directory starts at the working directory, which is `/box`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the command and the sandbox. To end the command alone, cancel
    /// [`ExecOptions::cancel`].
    ///
    /// # Errors
    /// Returns an error if the infrastructure failed. [`EngineError::target_started`] reports
    /// whether the command had started.
    async fn exec(
        &self,
        command: &Command,
        options: ExecOptions,
    ) -> Result<ExecOutcome, EngineError>;

    /// Writes a file, replaces an existing one, and creates missing parent directories.
    ///
    /// # Behavior
    /// - The file belongs to the target's user.
    /// - The engine never follows links. It replaces a link at the path, and refuses a link in a
    ///   parent directory.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of the file.
    ///
    /// # Errors
    /// Returns [`EngineError::File`] if the guest's file system refuses, and another error if the
    /// infrastructure failed.
    async fn write(
        &self,
        path: &SandboxPath,
        content: Bytes,
        executable: bool,
    ) -> Result<(), EngineError>;

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Behavior
    /// - The engine refuses links, FIFOs, sockets and devices, and never blocks on opening them.
    /// - The engine refuses a file of more than `limit` bytes. If a file grows during the read, the
    ///   result is cut at `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the sandbox.
    ///
    /// # Errors
    /// Returns [`EngineError::File`] if the guest's file system refuses, and another error if the
    /// infrastructure failed.
    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError>;

    /// Lists a directory.
    ///
    /// # Behavior
    /// - Names are unchanged bytes. A name is never empty, `.` or `..`, and contains no `/` or NUL.
    /// - The number of entries is bounded. [`Listing::truncated`] is `true` if the directory has
    ///   more.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the sandbox.
    ///
    /// # Errors
    /// Returns [`EngineError::File`] if the guest's file system refuses, and another error if the
    /// infrastructure failed.
    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError>;

    /// Ends all processes of the sandbox, and releases its resources.
    ///
    /// # Behavior
    /// - When this returns, no process of the sandbox lives.
    /// - The usage covers the whole sandbox.
    ///
    /// # Cancel safety
    /// If the future is dropped, the sandbox still closes in the background.
    ///
    /// # Errors
    /// Returns an error if the infrastructure failed, or if the engine could not confirm the end of
    /// a process in time.
    async fn close(self: Box<Self>) -> Result<Usage, EngineError>;
}
