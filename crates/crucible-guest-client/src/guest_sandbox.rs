//! Operations of an open sandbox that do not depend on the engine.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use crucible_core::{EngineError, Listing, PlannedFile, SandboxPath};
use crucible_guest::protocol::FrameKind;

use crate::channel::{Channel, ChannelExt as _};
use crate::errors::{Disconnected, lost};
use crate::files::{self, FILE_TIMEOUT, file_timeout, inputs_timeout};
use crate::sandbox_lock::SandboxLock;

/// The time limit for the setup of a sandbox, and for the start of a command.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit for the guest's exit after a request to close.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// An open sandbox with a guest.
pub trait GuestSandbox: fmt::Debug + Send + Sync {
    /// The transport to the guest.
    type Channel: Channel;

    /// Returns the channel to the guest.
    fn channel(&self) -> &Self::Channel;

    /// Returns the lock of the sandbox.
    fn lock(&self) -> &SandboxLock;

    /// Kills the sandbox after its guest broke the protocol or missed a deadline. The sandbox is
    /// poisoned already.
    ///
    /// Returns the error to report, with more detail if the engine knows it.
    fn abort(&self, error: EngineError) -> impl Future<Output = EngineError> + Send;
}

/// Operations on every [`GuestSandbox`].
pub trait GuestSandboxExt: GuestSandbox {
    /// Performs an exchange with the guest within a time limit.
    ///
    /// A guest that misses the limit or breaks the protocol is treated as compromised: the sandbox
    /// is poisoned and [aborted](GuestSandbox::abort).
    ///
    /// # Errors
    /// Returns the error of the exchange, or [`EngineError::Lost`] after the time limit.
    fn within<T: Send>(
        &self,
        limit: Duration,
        doing: &str,
        exchange: impl Future<Output = Result<T, EngineError>> + Send,
    ) -> impl Future<Output = Result<T, EngineError>> + Send {
        async move {
            let result = match tokio::time::timeout(limit, exchange).await {
                Ok(result) => result,
                Err(_) => Err(lost(doing, false)),
            };
            match result {
                Err(error @ (EngineError::Lost { .. } | EngineError::Protocol { .. })) => {
                    self.lock().poison();
                    Err(self.abort(error).await)
                }
                result => result,
            }
        }
    }

    /// Sends the input files without waiting for responses. The next command fails if a file could
    /// not be written.
    ///
    /// # Errors
    /// Returns an error if the infrastructure failed.
    fn put_inputs(
        &self,
        inputs: &[PlannedFile],
    ) -> impl Future<Output = Result<(), EngineError>> + Send {
        async {
            if inputs.is_empty() {
                return Ok(());
            }
            let put = files::put_inputs(self.channel(), inputs);
            self.within(inputs_timeout(inputs), "putting its files", put).await
        }
    }

    /// Waits until the sandbox is ready and its input files are in place.
    ///
    /// # Errors
    /// Returns an error if an input file could not be written, or if the infrastructure failed.
    fn wait_until_ready(&self) -> impl Future<Output = Result<(), EngineError>> + Send {
        async {
            let channel = self.channel();
            let is_ready = async {
                channel.ready().await?;
                // The guest handles requests in order, so its response confirms every earlier
                // request.
                channel.measure().await
            };
            match tokio::time::timeout(SETUP_TIMEOUT, is_ready).await {
                Ok(Ok(_)) => files::check_inputs(channel),
                Ok(Err(disconnected)) => Err(disconnected.into_error(false)),
                Err(_) => Err(lost("opening a sandbox", false)),
            }
        }
    }

    /// Sends the request that starts a command. A guest that is already gone is not an error here:
    /// the supervision of the command reads the reason.
    ///
    /// # Errors
    /// Returns an error if the request cannot be sent within [`SETUP_TIMEOUT`].
    fn send_start(
        &self,
        sent: impl Future<Output = Result<(), Disconnected>> + Send,
    ) -> impl Future<Output = Result<(), EngineError>> + Send {
        self.within(SETUP_TIMEOUT, "starting a command", async {
            Disconnected::unless_gone(sent.await)
        })
    }

    /// Writes a file.
    ///
    /// # Errors
    /// Returns [`EngineError::Closed`], [`EngineError::File`], or an error of the infrastructure.
    fn write_file(
        &self,
        path: &SandboxPath,
        content: &[u8],
        executable: bool,
    ) -> impl Future<Output = Result<(), EngineError>> + Send {
        async move {
            self.lock().check()?;
            let limit = file_timeout(content.len() as u64);
            let write = files::write(self.channel(), path, content, executable);
            self.within(limit, "writing a file", write).await
        }
    }

    /// Reads a file of `limit` bytes at most.
    ///
    /// # Errors
    /// Returns [`EngineError::Closed`], [`EngineError::File`], or an error of the infrastructure.
    fn read_file(
        &self,
        path: &SandboxPath,
        limit: u64,
    ) -> impl Future<Output = Result<Bytes, EngineError>> + Send {
        async move {
            self.lock().check()?;
            let read = files::read(self.channel(), path, limit);
            self.within(file_timeout(limit), "reading a file", read).await
        }
    }

    /// Lists a directory.
    ///
    /// # Errors
    /// Returns [`EngineError::Closed`], [`EngineError::File`], or an error of the infrastructure.
    fn list_directory(
        &self,
        path: &SandboxPath,
    ) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        async move {
            self.lock().check()?;
            let list = files::list(self.channel(), path);
            self.within(FILE_TIMEOUT, "listing a directory", list).await
        }
    }

    /// Poisons the sandbox, and asks the guest to exit if the sandbox was usable. The caller ends a
    /// guest that does not respond.
    fn request_close(&self) -> impl Future<Output = ()> + Send {
        async {
            if self.lock().poison() {
                let sent = self.channel().send(FrameKind::Close, 0, &[], &[]);
                let _sent = tokio::time::timeout(CLOSE_GRACE, sent).await;
            }
        }
    }
}

impl<S: GuestSandbox + ?Sized> GuestSandboxExt for S {}
