//! An open sandbox.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Command, EngineError, ExecOptions, ExecOutcome, InvalidInput, Limits, Listing, Sandbox,
    SandboxPath, SandboxSpec, Usage,
};
use crucible_guest::protocol::FrameKind;
use crucible_guest_client::errors::{lost, why};
use crucible_guest_client::files::{self, FILE_TIMEOUT, file_timeout, inputs_timeout};
use crucible_guest_client::{
    CgroupCounters, Channel as _, ChannelExt as _, End, EvidenceBuilder, SETUP_TIMEOUT, measure,
};
use tokio::sync::Mutex;

use crate::container::Container;
use crate::engine::Inner;
use crate::exec;

/// How long the guest may take to end by itself when it is told to.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// How long the daemon may take to end a container.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// An open sandbox. Dropped without being closed, its container is removed in the background.
#[derive(Debug)]
pub(crate) struct DockerSandbox {
    inner: Arc<Inner>,
    open: Open,
}

/// The parts of an open sandbox.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) container: Container,
    pub(crate) limits: Limits,
    /// Where the image has its programs, if not where programs are as a rule.
    pub(crate) path: Option<String>,
    /// One command at a time.
    turn: Mutex<()>,
    memory: SyncMutex<Memory>,
    /// A command was given up half way, or nothing more is to be asked.
    pub(crate) spent: AtomicBool,
}

/// What is to be remembered between commands.
#[derive(Debug, Default)]
struct Memory {
    /// The counters when the last command had ended; before the first, when the guest greeted.
    counters: CgroupCounters,
    /// CPU time of the guest itself by then.
    guest: Duration,
    /// What all commands have used.
    used: Usage,
    /// Process 1 has said that nothing but itself lives, and that it ends.
    is_over: bool,
}

impl DockerSandbox {
    /// Takes a container, or makes one, and sends the input files, without waiting for them.
    pub(crate) async fn begin(inner: &Arc<Inner>, spec: SandboxSpec) -> Result<Self, EngineError> {
        inner.info.admit(&spec.isolation, &spec.network)?;
        InvalidInput::check(spec.limits.problems("limits"))?;
        let image = inner.image(&spec).await?;
        let container = inner.container(image.name, &spec.limits, spec.evaluation).await?;
        let counters =
            container.attachment.desk().greeting().map(|greeting| greeting.counted.into());
        let memory = Memory { counters: counters.unwrap_or_default(), ..Memory::default() };
        let open = Open {
            container,
            limits: spec.limits,
            path: image.path,
            turn: Mutex::new(()),
            memory: SyncMutex::new(memory),
            spent: AtomicBool::new(false),
        };
        let sandbox = Self { inner: Arc::clone(inner), open };
        if !spec.files.is_empty() {
            let put = files::put_inputs(&sandbox.open.container.attachment, &spec.files);
            sandbox
                .open
                .within(inner, inputs_timeout(&spec.files), "putting its files", put)
                .await?;
        }
        Ok(sandbox)
    }

    /// Waits until the input files are in place.
    pub(crate) async fn settle(&self) -> Result<(), EngineError> {
        let channel = &self.open.container.attachment;
        // Whatever was sent before has been done when this is answered.
        match tokio::time::timeout(SETUP_TIMEOUT, measure(channel)).await {
            Ok(Ok(_)) => files::check_inputs(channel),
            Ok(Err(ended)) => Err(why(ended, false)),
            Err(_) => Err(lost("opening a sandbox", false)),
        }
    }

    fn open(&self) -> Result<&Open, EngineError> {
        if self.open.spent.load(Ordering::Acquire) {
            return Err(EngineError::Closed { what: "the sandbox".to_owned() });
        }
        Ok(&self.open)
    }
}

impl Open {
    fn remember(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What had been counted, and what the guest itself had used, when the last command had ended.
    pub(crate) fn before(&self) -> (CgroupCounters, Duration) {
        let memory = self.remember();
        (memory.counters, memory.guest)
    }

    /// The kernel's peaks have what it took to make the container: what does not exceed that is nobody's.
    pub(crate) fn note_peaks(&self, usage: &mut Usage, end: &End) {
        let start = self.container.attachment.desk().greeting().map(|greeting| greeting.counted);
        let (Some(start), Some(now)) = (start, end.counted) else {
            usage.processes_peak = None;
            return;
        };
        if now.memory_peak_bytes <= start.memory_peak_bytes {
            usage.memory_peak_bytes =
                end.exited.map(|exited| exited.maxrss_kib.saturating_mul(1024));
        }
        if now.processes_peak <= start.processes_peak {
            usage.processes_peak = None;
        }
    }

    /// A command has ended.
    pub(crate) fn note_end(&self, facts: &EvidenceBuilder<'_>, usage: &Usage, is_over: bool) {
        let mut memory = self.remember();
        memory.is_over = is_over;
        memory.counters = facts.now;
        memory.guest =
            facts.end.exited.map_or(memory.guest, |exited| Duration::from_micros(exited.guest_us));
        let used = &mut memory.used;
        used.cpu_user = used.cpu_user.saturating_add(usage.cpu_user);
        used.cpu_system = used.cpu_system.saturating_add(usage.cpu_system);
        used.memory_peak_bytes = used.memory_peak_bytes.max(usage.memory_peak_bytes);
        used.processes_peak = used.processes_peak.max(usage.processes_peak);
    }

    /// Ends the container, in the background.
    pub(crate) fn kill(&self, inner: &Inner) {
        inner.keeper().kill(self.container.tenure.name.clone());
    }

    /// Does what takes a guest that behaves. One that does not, in time or in what it says, is ended: it is none of ours.
    pub(crate) async fn within<T>(
        &self,
        inner: &Inner,
        patience: Duration,
        doing: &str,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let done = match tokio::time::timeout(patience, work).await {
            Ok(done) => done,
            Err(_) => Err(lost(doing, false)),
        };
        if let Err(EngineError::Lost { .. } | EngineError::Protocol { .. }) = done {
            self.spent.store(true, Ordering::Release);
            self.kill(inner);
        }
        match done {
            Err(error @ EngineError::Lost { .. }) => {
                Err(self.container.autopsy(inner, error).await)
            }
            done => done,
        }
    }

    /// Waits until process 1 has ended, and everything with it; ends it if it takes too long. `false` if nobody says that it has.
    async fn wait_until_dead(&self, inner: &Inner) -> bool {
        let channel = &self.container.attachment;
        if tokio::time::timeout(CLOSE_GRACE, channel.read_to_end()).await.is_ok()
            && !channel.desk().is_broken()
        {
            return true;
        }
        match tokio::time::timeout(KILL_PATIENCE, inner.daemon.remove(&self.container.tenure.name))
            .await
        {
            Ok(removed) => removed.is_ok(),
            Err(_) => false,
        }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn exec(&self, command: &Command, io: ExecOptions) -> Result<ExecOutcome, EngineError> {
        let open = self.open()?;
        let _turn = open.turn.lock().await;
        // The one before may have been given up.
        let open = self.open()?;
        exec::exec(&self.inner, open, command, io).await
    }

    async fn write(
        &self,
        path: &SandboxPath,
        content: Bytes,
        executable: bool,
    ) -> Result<(), EngineError> {
        let open = self.open()?;
        let patience = file_timeout(content.len() as u64);
        let written = files::write(&open.container.attachment, path, &content, executable);
        open.within(&self.inner, patience, "writing a file", written).await
    }

    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        let open = self.open()?;
        let read = files::read(&open.container.attachment, path, limit);
        open.within(&self.inner, file_timeout(limit), "reading a file", read).await
    }

    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        let open = self.open()?;
        let listed = files::list(&open.container.attachment, path);
        open.within(&self.inner, FILE_TIMEOUT, "listing a directory", listed).await
    }

    async fn close(self: Box<Self>) -> Result<Usage, EngineError> {
        let open = &self.open;
        if !open.spent.swap(true, Ordering::AcqRel) {
            // A guest that does not listen is ended below.
            let told = open.container.attachment.send(FrameKind::Close, 0, &[], &[]);
            let _told = tokio::time::timeout(CLOSE_GRACE, told).await;
        }
        let is_over = open.remember().is_over;
        let dead = is_over || open.wait_until_dead(&self.inner).await;
        let usage = open.remember().used.clone();
        if dead { Ok(usage) } else { Err(lost("closing: it could not be confirmed dead", true)) }
    }
}
