//! The execution of a batch, from lines to outcomes.

use std::time::{Duration, Instant};

use crucible::journal::RecordState;
use crucible::model::{ErrorReport, EvaluationId, error_chain};
use crucible::platform::{SubmitError, WaitError};
use crucible::result::Verdict;
use crucible::{Crucible, Evaluation, Handle, Limits, MemoryQueue, MemoryStorage, Outcome};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::line::BatchLine;
use super::line_keys::LineKeys;
use super::line_reader::{NumberedLine, read_lines};
use super::report::{BatchAnswer, BatchReport};
use crate::args::batch::BatchArgs;
use crate::failure::{ExitStatus, Failure};
use crate::runtime::cpus;
use crate::{data, engines};

/// The number of evaluations that wait for each worker, so that no worker is idle.
const WAITING_PER_WORKER: usize = 4;

/// The grace period for running programs. Their own limits end them earlier.
const DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs all lines of a file.
///
/// # Errors
/// Returns a failure if the file cannot be read or the infrastructure fails.
pub(crate) async fn batch(args: BatchArgs) -> Result<ExitStatus, Failure> {
    let workers = args.workers.unwrap_or_else(cpus);
    let crucible = start(&args, workers).await?;
    let began = Instant::now();
    let mut report = BatchReport::new();
    let batch = BatchRun {
        crucible: &crucible,
        limits: args.limits.limits(),
        keys: args.data.is_some().then(LineKeys::default),
        in_flight: workers.saturating_mul(WAITING_PER_WORKER),
        running: JoinSet::new(),
        report: &mut report,
    };
    let result = batch.run(read_lines(&args.file)?).await;
    // Resumed evaluations of an earlier batch are not part of this one, but they run to their end.
    let drains = args.data.is_some() && report.interrupted_after.is_none();
    let shutdown = crucible.shutdown(if drains { DRAIN } else { Duration::ZERO }).await;
    if args.data.is_some() {
        data::report_queued(shutdown.queued);
    }
    let status = match (report.failures, report.bad_lines, report.interrupted_after) {
        (1.., ..) => ExitStatus::Infrastructure,
        (_, _, Some(_)) => ExitStatus::Interrupted,
        (_, 1.., _) => ExitStatus::Usage,
        _ => ExitStatus::Success,
    };
    report.finish(began.elapsed());
    result.map(|()| status)
}

/// Starts a platform in memory or on the data directory.
async fn start(args: &BatchArgs, workers: usize) -> Result<Crucible, Failure> {
    let engine = engines::create(&args.engine)?;
    let builder = Crucible::builder().engine(args.engine.name.as_str(), engine).workers(workers);
    let builder = match &args.data {
        Some(path) => {
            let directory = data::open(path).await?;
            builder.queue(directory.queue()).storage(directory.storage())
        }
        None => {
            let capacity = workers.saturating_mul(WAITING_PER_WORKER + 1) as u64;
            builder.queue(MemoryQueue::bounded(capacity)).storage(MemoryStorage::new())
        }
    };
    let crucible = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
    if args.data.is_some() {
        data::recover(&crucible).await?;
    }
    Ok(crucible)
}

/// The result of one evaluation.
struct BatchResult {
    key: serde_json::Value,
    id: EvaluationId,
    result: Result<Outcome, WaitError>,
}

/// The evaluations in flight.
struct BatchRun<'a> {
    crucible: &'a Crucible,
    limits: Limits,
    /// The keys of the lines, if they are kept in a data directory.
    keys: Option<LineKeys>,
    /// The maximum number of evaluations in flight. Further lines stay in the file.
    in_flight: usize,
    running: JoinSet<BatchResult>,
    report: &'a mut BatchReport,
}

impl BatchRun<'_> {
    /// Runs the lines until the last or Ctrl-C, then waits for the running programs.
    async fn run(mut self, mut lines: mpsc::Receiver<NumberedLine>) -> Result<(), Failure> {
        let mut interrupts = 0;
        let mut open = true;
        let mut last_line = 0;
        // One listener for the whole batch: a signal between two listeners would be lost.
        #[cfg(unix)]
        let interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        #[cfg(not(unix))]
        let interrupted = tokio::signal::windows::ctrl_c();
        let mut interrupted = interrupted.map_err(|error| Failure::infrastructure(&error))?;
        while open || !self.running.is_empty() {
            tokio::select! {
                line = lines.recv(), if open && self.running.len() < self.in_flight => match line {
                    Some((number, line)) => {
                        last_line = number;
                        self.submit(number, line).await?;
                    }
                    None => open = false,
                },
                Some(result) = self.running.join_next() => {
                    let result = result.map_err(|error| Failure::infrastructure(&error))?;
                    self.answer(&result)?;
                }
                _ = interrupted.recv() => {
                    interrupts += 1;
                    open = false;
                    self.report.interrupted_after = Some(last_line);
                    self.interrupt(interrupts);
                }
            }
        }
        Ok(())
    }

    /// Starts the shutdown: the first Ctrl-C waits for running programs, the second cancels them.
    fn interrupt(&self, interrupts: u32) {
        let crucible = self.crucible.clone();
        let (grace, message) = if interrupts == 1 {
            (DRAIN, "draining: running programs may end; Ctrl-C again cancels them")
        } else {
            (Duration::ZERO, "cancelling")
        };
        self.report.message(message);
        tokio::spawn(async move { crucible.shutdown(grace).await });
    }

    /// Submits the evaluation of a line, or reports the line as invalid.
    async fn submit(&mut self, number: usize, line: Result<String, String>) -> Result<(), Failure> {
        if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
            return Ok(());
        }
        let (key, evaluation) = match line.and_then(|line| self.evaluation(&line)) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.report.bad_line(number, &error);
                return Ok(());
            }
        };
        match self.crucible.submit(evaluation).await {
            Ok(handle) => {
                self.report.accepted();
                self.running.spawn(wait(key, handle));
            }
            Err(SubmitError::Invalid(problems)) => {
                self.report.bad_line(number, &problems.to_string());
            }
            Err(SubmitError::KeyReused { existing, .. }) => {
                let message = format!(
                    "the key belongs to another evaluation, {existing}, in this data directory"
                );
                self.report.bad_line(number, &message);
            }
            Err(SubmitError::Closed) => {}
            Err(error) => return Err(Failure::infrastructure(&error)),
        }
        Ok(())
    }

    /// Returns the key and the evaluation of a line.
    fn evaluation(&mut self, line: &str) -> Result<(serde_json::Value, Evaluation), String> {
        let line = BatchLine::parse(line)?;
        let key = line.key.clone();
        let mut evaluation = line.evaluation(&self.limits)?;
        if let Some(keys) = &mut self.keys {
            evaluation = keys.assign(&key, evaluation);
        }
        Ok((key, evaluation))
    }

    /// Prints the result of an evaluation.
    fn answer(&mut self, ended: &BatchResult) -> Result<(), Failure> {
        let (state, outcome, error) = match &ended.result {
            Ok(outcome) if matches!(outcome.verdict(), Verdict::Cancelled) => {
                (RecordState::Cancelled, Some(outcome), None)
            }
            Ok(outcome) => (RecordState::Finished, Some(outcome), None),
            Err(WaitError::Expired { .. }) => (RecordState::Expired, None, None),
            Err(WaitError::Failed { report, .. }) => {
                (RecordState::Failed, None, Some(report.clone()))
            }
            // The platform shut down before it ran.
            Err(WaitError::Closed { .. }) => (RecordState::Queued, None, None),
            Err(error) => {
                let report = ErrorReport::new("wait", error_chain(error));
                (RecordState::Failed, None, Some(report))
            }
        };
        let (key, id) = (&ended.key, Some(ended.id));
        self.report.answer(&BatchAnswer { key, id, state, outcome, error: error.as_ref() })
    }
}

/// Waits for an evaluation.
async fn wait(key: serde_json::Value, handle: Handle) -> BatchResult {
    let id = handle.id();
    BatchResult { key, id, result: handle.outcome().await }
}
