//! A sandbox of the scripted engine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use super::fake_run::FakeRun;
use crate::engine::{
    DirEntry, EngineError, EntryKind, ExecOptions, ExecOutcome, FileReason, Listing, OutputChunk,
    PlannedFile, Sandbox,
};
use crate::model::{Command, Layer, SandboxPath, Signal};
use crate::result::{
    Capture, Captured, Enforcement, Evidence, KillReason, LayerStatus, OutputStream, Usage,
};

pub(super) type RunScript = dyn Fn(&Command) -> FakeRun + Send + Sync;

type FakeFiles = BTreeMap<SandboxPath, (Bytes, bool)>;

/// The numbers of sandboxes of one engine.
#[derive(Debug, Default)]
pub(super) struct SandboxCounts {
    pub(super) opened: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) open_peak: AtomicUsize,
}

/// A sandbox with files in memory and scripted commands.
pub(super) struct FakeSandbox {
    script: Arc<RunScript>,
    counts: Arc<SandboxCounts>,
    files: Mutex<FakeFiles>,
}

/// Returns a report in which every layer is waived.
pub(super) fn enforcement() -> Enforcement {
    Layer::ALL
        .iter()
        .fold(Enforcement::new(), |report, layer| report.with(*layer, LayerStatus::Waived, "fake"))
}

impl FakeSandbox {
    pub(super) fn open(
        script: Arc<RunScript>,
        counts: Arc<SandboxCounts>,
        files: Vec<PlannedFile>,
    ) -> Self {
        counts.opened.fetch_add(1, Ordering::SeqCst);
        let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
        counts.open_peak.fetch_max(open, Ordering::SeqCst);
        let files = files.into_iter().map(|file| (file.path, (file.content, file.executable)));
        Self { script, counts, files: Mutex::new(files.collect()) }
    }

    fn files(&self) -> MutexGuard<'_, FakeFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FakeSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let run = (self.script)(command);
        let started_at = Instant::now();
        assert!(!run.panics, "injected panic of the engine");
        let running = async {
            if run.hangs {
                std::future::pending::<()>().await;
            }
            // A zero sleep would still yield, and tests count polls.
            if !run.delay.is_zero() {
                tokio::time::sleep(run.delay).await;
            }
        };
        let cancelled = tokio::select! {
            biased;
            () = io.cancel.cancelled() => true,
            () = running => false,
        };
        if let Some(error) = &run.error {
            return Err(error());
        }
        let wall = started_at.elapsed();
        let evidence = if cancelled {
            let reason = KillReason::Cancelled;
            vec![Evidence::Killed { signal: Signal::KILL, reason, after: wall }]
        } else {
            run.evidence.clone()
        };
        for (stream, bytes) in
            [(OutputStream::Stdout, &run.stdout), (OutputStream::Stderr, &run.stderr)]
        {
            if !bytes.is_empty() && !io.output.is_none() {
                io.output.send(OutputChunk::new(stream, 0, bytes.clone())).await;
            }
        }
        let limit = io.capture_bytes;
        Ok(ExecOutcome::new(evidence)
            .with_output(captured(&run.stdout, limit), captured(&run.stderr, limit))
            .with_usage(Usage { wall: started_at.elapsed(), ..Usage::default() })
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
        let error = |reason| EngineError::File { path: path.to_string(), reason };
        let (content, _) =
            self.files().get(path).cloned().ok_or_else(|| error(FileReason::NotFound))?;
        if content.len() as u64 > limit { Err(error(FileReason::TooLarge)) } else { Ok(content) }
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
            let bytes = Bytes::from(name.to_owned().into_bytes());
            let entry = DirEntry::new(bytes, kind, content.len() as u64, *executable);
            entries.insert(name.to_owned(), entry);
        }
        Ok(Listing::new(entries.into_values().collect(), false))
    }

    async fn close(self: Box<Self>) -> Result<Usage, EngineError> {
        Ok(Usage::default())
    }
}

/// Returns the part of an output that fits the limit. The default limit is 1 MiB.
fn captured(bytes: &Bytes, limit: Option<u64>) -> Captured {
    let limit = usize::try_from(limit.unwrap_or(1 << 20)).unwrap_or(usize::MAX);
    let mut capture = Capture::new(limit);
    capture.push(bytes);
    capture.finish()
}
