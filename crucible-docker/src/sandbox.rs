//! An open sandbox.

use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Command, EngineError, ExecOptions, ExecOutcome, InvalidInput, Limits, Listing, Sandbox,
    SandboxPath, SandboxSpec, Usage,
};
use crucible_guest_client::errors::lost;
use crucible_guest_client::{
    CLOSE_GRACE, Channel as _, ChannelExt as _, EvidenceBuilder, GuestSandbox,
    GuestSandboxExt as _, SandboxLock, UsageAccount, UsageBaseline,
};

use crate::connection::Attachment;
use crate::container::{ContainerPool, GuestContainer};

/// The time limit for the daemon to end a container.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);

/// An open sandbox. If it is dropped without being closed, its container is removed in the
/// background.
#[derive(Debug)]
pub(crate) struct DockerSandbox {
    /// Keeps the engine alive.
    pub(crate) pool: Arc<ContainerPool>,
    pub(crate) container: GuestContainer,
    pub(crate) limits: Limits,
    /// The image's own `PATH`, if it differs from the usual one.
    pub(crate) path: Option<String>,
    pub(crate) lock: SandboxLock,
    history: SyncMutex<CommandHistory>,
}

/// The state that a sandbox keeps between commands.
#[derive(Debug, Default)]
struct CommandHistory {
    /// The usage up to the end of the last command.
    account: UsageAccount,
    /// The guest has reported that no other process is left, and that it exits.
    is_over: bool,
}

impl DockerSandbox {
    /// Takes a ready container or starts one, and sends the input files without waiting for them.
    pub(crate) async fn open(
        pool: &Arc<ContainerPool>,
        spec: SandboxSpec,
    ) -> Result<Self, EngineError> {
        pool.info.admit(&spec.isolation, &spec.network)?;
        InvalidInput::check(spec.limits.problems("limits"))?;
        let image = pool.image(&spec).await?;
        let container = pool.acquire(image.name, &spec.limits, spec.evaluation).await?;
        let counters = container.greeting().map(|greeting| greeting.counted.into());
        let account = UsageAccount::new(counters.unwrap_or_default());
        let sandbox = Self {
            pool: Arc::clone(pool),
            container,
            limits: spec.limits,
            path: image.path,
            lock: SandboxLock::new(),
            history: SyncMutex::new(CommandHistory { account, is_over: false }),
        };
        sandbox.put_inputs(&spec.files).await?;
        Ok(sandbox)
    }

    /// Returns the counters at the end of the last command; before the first, those at the start of
    /// the sandbox.
    pub(crate) fn baseline(&self) -> UsageBaseline {
        self.history().account.baseline
    }

    /// Records the end of a command.
    pub(crate) fn record(&self, command: &EvidenceBuilder, usage: &Usage, is_over: bool) {
        let mut history = self.history();
        history.account.record(command, usage);
        history.is_over = is_over;
    }

    fn history(&self) -> MutexGuard<'_, CommandHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the guest and all other processes have ended. Removes the container if that
    /// takes too long. Returns `false` if the end could not be confirmed.
    async fn wait_until_dead(&self) -> bool {
        let channel = &self.container.attachment;
        if tokio::time::timeout(CLOSE_GRACE, channel.read_to_end()).await.is_ok()
            && !channel.router().has_protocol_error()
        {
            return true;
        }
        let removal = tokio::time::timeout(KILL_TIMEOUT, self.container.remove());
        matches!(removal.await, Ok(Ok(())))
    }
}

impl GuestSandbox for DockerSandbox {
    type Channel = Attachment;

    fn channel(&self) -> &Attachment {
        &self.container.attachment
    }

    fn lock(&self) -> &SandboxLock {
        &self.lock
    }

    async fn abort(&self, error: EngineError) -> EngineError {
        self.container.kill();
        self.container.diagnose_loss(error).await
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn exec(
        &self,
        command: &Command,
        options: ExecOptions,
    ) -> Result<ExecOutcome, EngineError> {
        let _turn = self.lock.acquire().await?;
        self.run_command(command, options).await
    }

    async fn write(
        &self,
        path: &SandboxPath,
        content: Bytes,
        executable: bool,
    ) -> Result<(), EngineError> {
        self.write_file(path, &content, executable).await
    }

    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        self.read_file(path, limit).await
    }

    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        self.list_directory(path).await
    }

    async fn close(self: Box<Self>) -> Result<Usage, EngineError> {
        self.request_close().await;
        let is_over = self.history().is_over;
        let is_dead = is_over || self.wait_until_dead().await;
        let usage = self.history().account.used.clone();
        if is_dead { Ok(usage) } else { Err(lost("closing: it could not be confirmed dead", true)) }
    }
}
