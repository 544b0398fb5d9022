//! A scripted engine that runs nothing and isolates nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

use crate::engine::{
    DirEntry, Engine, EngineError, EngineInfo, EntryKind, ExecOptions, ExecOutcome, FileReason,
    Listing, OutputChunk, Sandbox, SandboxSpec,
};
use crate::model::{Command, Layer, SandboxPath, Signal};
use crate::result::{
    Capture, Ending, Enforcement, Evidence, KillReason, LayerStatus, OutputStream, Usage,
};

type Refusal = Arc<dyn Fn() -> EngineError + Send + Sync>;

/// What a [`FakeEngine`] pretends a command does.
#[derive(Clone)]
pub struct FakeRun {
    delay: Duration,
    stdout: Bytes,
    stderr: Bytes,
    evidence: Vec<Evidence>,
    error: Option<Refusal>,
    hangs: bool,
    panics: bool,
}

impl FakeRun {
    /// Exits with this code at once.
    #[must_use]
    pub fn exit(code: i32) -> Self {
        let waited = Evidence::Waited { ending: Ending::Exited { code }, after: Duration::ZERO };
        Self::evidence(vec![waited])
    }

    /// Ends with this evidence at once.
    #[must_use]
    pub fn evidence(evidence: Vec<Evidence>) -> Self {
        Self {
            delay: Duration::ZERO,
            stdout: Bytes::new(),
            stderr: Bytes::new(),
            evidence,
            error: None,
            hangs: false,
            panics: false,
        }
    }

    /// Fails with the error that `error` makes.
    #[must_use]
    pub fn error(error: impl Fn() -> EngineError + Send + Sync + 'static) -> Self {
        Self { error: Some(Arc::new(error)), ..Self::exit(0) }
    }

    /// Runs until it is cancelled.
    #[must_use]
    pub fn hang() -> Self {
        Self { hangs: true, ..Self::exit(0) }
    }

    /// Panics.
    #[must_use]
    pub fn panic() -> Self {
        Self { panics: true, ..Self::exit(0) }
    }

    /// Takes this long.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Writes this to standard output.
    #[must_use]
    pub fn with_stdout(mut self, bytes: impl Into<Bytes>) -> Self {
        self.stdout = bytes.into();
        self
    }

    /// Writes this to standard error.
    #[must_use]
    pub fn with_stderr(mut self, bytes: impl Into<Bytes>) -> Self {
        self.stderr = bytes.into();
        self
    }
}

impl std::fmt::Debug for FakeRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeRun").field("evidence", &self.evidence).finish_non_exhaustive()
    }
}

type Script = dyn Fn(&Command) -> FakeRun + Send + Sync;

/// An engine that plays a script. It starts no process, and its enforcement report says that every layer is waived.
#[derive(Clone)]
pub struct FakeEngine {
    script: Arc<Script>,
    counts: Arc<SandboxCounts>,
}

#[derive(Debug, Default)]
struct SandboxCounts {
    opened: AtomicUsize,
    open: AtomicUsize,
    open_peak: AtomicUsize,
}

impl FakeEngine {
    /// Every command exits with 0 at once.
    #[must_use]
    pub fn new() -> Self {
        Self::scripted(|_| FakeRun::exit(0))
    }

    /// Every command does what `script` says of it.
    #[must_use]
    pub fn scripted(script: impl Fn(&Command) -> FakeRun + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), counts: Arc::default() }
    }

    /// How many sandboxes were opened.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.counts.opened.load(Ordering::SeqCst)
    }

    /// How many sandboxes are open now.
    #[must_use]
    pub fn open_now(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// The most sandboxes that were open at once.
    #[must_use]
    pub fn open_peak(&self) -> usize {
        self.counts.open_peak.load(Ordering::SeqCst)
    }
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeEngine").field("counts", &self.counts).finish_non_exhaustive()
    }
}

fn enforcement() -> Enforcement {
    Layer::ALL
        .iter()
        .fold(Enforcement::new(), |report, layer| report.with(*layer, LayerStatus::Waived, "fake"))
}

#[async_trait]
impl Engine for FakeEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo::new("fake", enforcement())
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        self.info().admit(&spec.isolation, &spec.network)?;
        self.info().admit_image(spec.image.as_deref())?;
        self.counts.opened.fetch_add(1, Ordering::SeqCst);
        let open = self.counts.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.counts.open_peak.fetch_max(open, Ordering::SeqCst);
        let files = spec.files.into_iter().map(|file| (file.path, (file.content, file.executable)));
        Ok(Box::new(FakeSandbox {
            script: Arc::clone(&self.script),
            counts: Arc::clone(&self.counts),
            files: Mutex::new(files.collect()),
        }))
    }

    async fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

type Files = BTreeMap<SandboxPath, (Bytes, bool)>;

struct FakeSandbox {
    script: Arc<Script>,
    counts: Arc<SandboxCounts>,
    files: Mutex<Files>,
}

impl FakeSandbox {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for FakeSandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeSandbox").finish_non_exhaustive()
    }
}

impl Drop for FakeSandbox {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    async fn exec(&self, command: &Command, io: ExecOptions) -> Result<ExecOutcome, EngineError> {
        let play = (self.script)(command);
        let began = Instant::now();
        assert!(!play.panics, "injected panic of the engine");
        let playing = async {
            if play.hangs {
                std::future::pending::<()>().await;
            }
            // A zero sleep would still yield, and tests count polls.
            if !play.delay.is_zero() {
                tokio::time::sleep(play.delay).await;
            }
        };
        let cancelled = tokio::select! {
            biased;
            () = io.cancel.cancelled() => true,
            () = playing => false,
        };
        if let Some(error) = &play.error {
            return Err(error());
        }
        let evidence = if cancelled {
            vec![Evidence::Killed {
                signal: Signal::KILL,
                reason: KillReason::Cancelled,
                after: began.elapsed(),
            }]
        } else {
            play.evidence.clone()
        };
        let keep = |bytes: &Bytes| {
            let mut capture = Capture::new(
                usize::try_from(io.capture_bytes.unwrap_or(1 << 20)).unwrap_or(usize::MAX),
            );
            capture.push(bytes);
            capture.finish()
        };
        for (stream, bytes) in
            [(OutputStream::Stdout, &play.stdout), (OutputStream::Stderr, &play.stderr)]
        {
            if !bytes.is_empty() && !io.output.is_none() {
                io.output.send(OutputChunk::new(stream, 0, bytes.clone())).await;
            }
        }
        let usage = Usage { wall: began.elapsed(), ..Usage::default() };
        Ok(ExecOutcome::new(evidence)
            .with_output(keep(&play.stdout), keep(&play.stderr))
            .with_usage(usage)
            .with_enforcement(enforcement()))
    }

    async fn write(
        &self,
        path: &SandboxPath,
        content: Bytes,
        executable: bool,
    ) -> Result<(), EngineError> {
        self.files().insert(path.clone(), (content, executable));
        Ok(())
    }

    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        let file = |reason| EngineError::File { path: path.to_string(), reason };
        let (content, _) =
            self.files().get(path).cloned().ok_or_else(|| file(FileReason::NotFound))?;
        if content.len() as u64 > limit { Err(file(FileReason::TooLarge)) } else { Ok(content) }
    }

    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        let prefix = if path.is_root() { String::new() } else { format!("{path}/") };
        let mut entries: BTreeMap<String, DirEntry> = BTreeMap::new();
        for (file, (content, executable)) in self.files().iter() {
            let Some(rest) = file.as_str().strip_prefix(&prefix) else { continue };
            let (name, kind) = match rest.split_once('/') {
                Some((directory, _)) => (directory, EntryKind::Directory),
                None => (rest, EntryKind::File),
            };
            let entry = DirEntry::new(
                Bytes::from(name.to_owned().into_bytes()),
                kind,
                content.len() as u64,
                *executable,
            );
            entries.insert(name.to_owned(), entry);
        }
        Ok(Listing::new(entries.into_values().collect(), false))
    }

    async fn close(self: Box<Self>) -> Result<Usage, EngineError> {
        Ok(Usage::default())
    }
}
