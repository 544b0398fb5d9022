//! Running the evaluation, showing its output while it comes, and its verdict.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crucible::{
    Artifact, Crucible, Handle, MemoryQueue, MemoryStorage, Outcome, OutputChunk, OutputStream,
    ShutdownReport, SubmitError, SubmitOptions,
};
use tokio::sync::mpsc;

use crate::args::Request;
use crate::common::{EXIT_VERDICT, Failure, Inert, engine, inert, json_line};
use crate::data;
use crate::limits::usage_line;

/// How many pieces of output may wait for a slow terminal.
const PIECES: usize = 64;

/// How long what runs may take to end: as long as it likes, within its limits.
const DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Evaluates, shows, and gives the exit status.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::infrastructure(&error))?;
    runtime.block_on(evaluate(request))
}

async fn evaluate(request: Request) -> Result<u8, Failure> {
    let engine = engine(&request.engine, &request.waived)?;
    let builder = Crucible::builder().engine(request.engine.as_str(), engine);
    let builder = match &request.data {
        Some(path) => {
            let directory = data::open(path).await?;
            // One more than what an earlier run may have left running.
            builder.queue(directory.queue()).storage(directory.storage()).workers(data::cpus() + 1)
        }
        None => builder.queue(MemoryQueue::bounded(1)).storage(MemoryStorage::new()).workers(1),
    };
    let crucible = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
    if request.data.is_some() {
        data::recover(&crucible).await?;
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    let mut options = SubmitOptions::new();
    if !request.json {
        options = options.with_output(sender.clone());
    }
    // Output ends with its last sender.
    drop(sender);
    let handle =
        crucible.submit_with(request.evaluation, options).await.map_err(|error| refused(&error))?;
    let shown = tokio::task::spawn_blocking(move || show(pieces));
    let outcome = tokio::select! {
        outcome = handle.outcome() => outcome,
        interrupted = interrupted(&handle) => match interrupted {
            Ok(()) => handle.outcome().await,
            Err(failure) => return Err(failure),
        },
    };
    let outcome = outcome.map_err(|error| Failure::infrastructure(&error))?;
    // Everything that was written is shown before the verdict is.
    match shown.await {
        Ok(Ok(())) => {}
        // Nobody reads our output any more; the verdict is still worth saying.
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Ok(Err(error)) => return Err(Failure::infrastructure(&error)),
        Err(error) => return Err(Failure::infrastructure(&error)),
    }
    if let Some(directory) = &request.into {
        bring_out(&outcome.artifacts, directory)?;
    }
    report(&outcome, request.json, request.verbose)?;
    if request.data.is_some() {
        data::tell_waiting(drain(&crucible).await?.queued);
    } else {
        crucible.shutdown(Duration::ZERO).await;
    }
    Ok(if outcome.is_success() { 0 } else { EXIT_VERDICT })
}

/// Lets what an earlier run left, and this one took up, come to its end; Ctrl-C ends it.
async fn drain(crucible: &Crucible) -> Result<ShutdownReport, Failure> {
    tokio::select! {
        report = crucible.shutdown(DRAIN) => Ok(report),
        signal = tokio::signal::ctrl_c() => {
            signal.map_err(|error| Failure::infrastructure(&error))?;
            Ok(crucible.shutdown(Duration::ZERO).await)
        }
    }
}

/// A request that is not accepted: the caller's error, or the infrastructure's.
fn refused(error: &SubmitError) -> Failure {
    match error {
        SubmitError::Invalid(problems) => Failure::usage(problems.to_string()),
        error => Failure::infrastructure(error),
    }
}

/// Waits for Ctrl-C, and cancels.
async fn interrupted(handle: &Handle) -> Result<(), Failure> {
    tokio::signal::ctrl_c().await.map_err(|error| Failure::infrastructure(&error))?;
    eprintln!("cancelling");
    handle.cancel().await.map_err(|error| Failure::infrastructure(&error))?;
    Ok(())
}

/// Writes output through as it comes: as it is, or inert if somebody looks.
fn show(mut pieces: mpsc::Receiver<OutputChunk>) -> io::Result<()> {
    let mut stdout = Shown::new(io::stdout(), io::stdout().is_terminal());
    let mut stderr = Shown::new(io::stderr(), io::stderr().is_terminal());
    while let Some(piece) = pieces.blocking_recv() {
        match piece.stream {
            OutputStream::Stdout => stdout.write(&piece.bytes)?,
            OutputStream::Stderr => stderr.write(&piece.bytes)?,
        }
    }
    Ok(())
}

/// A stream that somebody may look at.
struct Shown<W> {
    stream: W,
    eyes: Option<Inert>,
}

impl<W: io::Write> Shown<W> {
    fn new(stream: W, is_terminal: bool) -> Self {
        Self { stream, eyes: is_terminal.then(Inert::default) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.eyes {
            Some(inert) => self.stream.write_all(inert.push(bytes).as_bytes())?,
            None => self.stream.write_all(bytes)?,
        }
        self.stream.flush()
    }
}

fn report(outcome: &Outcome, json: bool, verbose: bool) -> Result<(), Failure> {
    if json {
        let text = json_line(outcome).map_err(|error| Failure::infrastructure(&error))?;
        writeln!(io::stdout(), "{text}").map_err(|error| Failure::infrastructure(&error))?;
    } else if outcome.verdict().kind() == "compile_failed" {
        // The compiler's words did not come live: they are the outcome's output.
        let words = outcome.stdout.to_text().into_owned() + &outcome.stderr.to_text();
        eprintln!("{}", inert(words.trim_end()));
    }
    let written = outcome.stdout.total_bytes + outcome.stderr.total_bytes;
    eprintln!(
        "{} ({})",
        inert(&outcome.verdict().to_string()),
        usage_line(&outcome.usage, written)
    );
    let waived: Vec<_> = outcome.enforcement.waived().map(|layer| layer.name()).collect();
    if !waived.is_empty() {
        eprintln!("waived: {}", waived.join(", "));
    }
    for file in &outcome.skipped {
        eprintln!("not collected: {:?}: {}", file.path, file.reason);
    }
    if verbose {
        for fact in outcome.evidence() {
            eprintln!("evidence: {fact:?}");
        }
        for line in outcome.enforcement.reports() {
            eprintln!("layer {}: {} {}", line.layer, line.status, line.detail);
        }
    }
    Ok(())
}

/// Writes artifacts beneath a directory. Their paths are the guest's choice, but checked: none leads out of it, unless the
/// directory has links in it that do.
fn bring_out(artifacts: &[Artifact], directory: &Path) -> Result<(), Failure> {
    for artifact in artifacts {
        let path: PathBuf = directory.join(artifact.path.as_str());
        let content = artifact.content.clone().unwrap_or_default();
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, content))
            .and_then(|()| if artifact.executable { make_executable(&path) } else { Ok(()) });
        written.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

#[cfg(unix)]
fn make_executable(path: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
