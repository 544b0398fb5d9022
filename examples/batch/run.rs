//! From lines to outcomes.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crucible::{
    Crucible, ErrorReport, EvaluationId, Handle, MemoryQueue, MemoryStorage, Outcome, RecordState,
    SubmitError, WaitError,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Args;
use crate::common::{EXIT_INFRASTRUCTURE, EXIT_USAGE, Failure, engine};
use crate::data;
use crate::keys::Keys;
use crate::line::Line;
use crate::report::{Answer, Report};

/// The longest line: as much as an evaluation's input can be, and some.
const LINE_MAX: usize = 128 * 1024 * 1024;
/// How many evaluations wait for each worker: enough that none is idle.
const WAITING: usize = 4;
/// How long what runs may take to end after a first Ctrl-C: as long as it likes, within its limits.
const DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// As shells have it for what SIGINT ends.
const EXIT_INTERRUPTED: u8 = 130;

/// What became of one evaluation.
struct Ended {
    key: serde_json::Value,
    id: EvaluationId,
    result: Result<Outcome, WaitError>,
}

/// A line of the input, or why there is none.
type Numbered = (usize, Result<String, String>);

pub(crate) async fn run(args: Args) -> Result<u8, Failure> {
    let engine = engine(&args.engine, &args.waive)?;
    let workers = args
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get));
    let builder = Crucible::builder().engine(args.engine.as_str(), engine).workers(workers);
    let builder = match &args.data {
        Some(path) => {
            let directory = data::open(path).await?;
            builder.queue(directory.queue()).storage(directory.storage())
        }
        None => {
            let waiting = workers.saturating_mul(WAITING + 1) as u64;
            builder.queue(MemoryQueue::bounded(waiting)).storage(MemoryStorage::new())
        }
    };
    let crucible = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
    if args.data.is_some() {
        data::recover(&crucible).await?;
    }
    let began = Instant::now();
    let mut report = Report::new();
    let finished = Batch {
        crucible: &crucible,
        limits: args.limits.limits(),
        keys: args.data.is_some().then(Keys::default),
        in_flight: workers.saturating_mul(WAITING),
        running: JoinSet::new(),
        report: &mut report,
    }
    .feed(read_lines(&args.file)?)
    .await;
    // What an earlier batch left and this one took up is not part of this one, but it is not cut short either.
    let grace = if args.data.is_some() && report.interrupted_after.is_none() {
        DRAIN
    } else {
        Duration::ZERO
    };
    let shutdown = crucible.shutdown(grace).await;
    if args.data.is_some() {
        data::tell_waiting(shutdown.queued);
    }
    let status = match (&finished, report.failures, report.bad_lines) {
        (Err(_), ..) | (_, 1.., _) => EXIT_INFRASTRUCTURE,
        _ if report.interrupted_after.is_some() => EXIT_INTERRUPTED,
        (_, _, 1..) => EXIT_USAGE,
        _ => 0,
    };
    report.finish(began.elapsed());
    finished.map(|()| status)
}

/// Reads lines on a thread of its own: standard input cannot be waited for otherwise.
fn read_lines(path: &Path) -> Result<mpsc::Receiver<Numbered>, Failure> {
    let input: Box<dyn std::io::Read + Send> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let fail = |error| Failure::usage(format!("{}: {error}", path.display()));
        Box::new(std::fs::File::open(path).map_err(fail)?)
    };
    let (sender, receiver) = mpsc::channel(16);
    let name = PathBuf::from(path);
    std::thread::spawn(move || {
        let mut input = std::io::BufReader::new(input);
        for number in 1.. {
            let mut line = Vec::new();
            let read =
                std::io::Read::take(&mut input, LINE_MAX as u64 + 1).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) if line.len() > LINE_MAX => {
                    Err(format!("is longer than {LINE_MAX} bytes; reading stops here"))
                }
                Ok(_) => String::from_utf8(line).map_err(|_| "is not UTF-8".to_owned()),
                Err(error) => Err(format!("{}: {error}; reading stops here", name.display())),
            };
            let stops = line.as_ref().is_err_and(|error| error.ends_with("stops here"));
            if sender.blocking_send((number, line)).is_err() || stops {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Evaluations on their way.
struct Batch<'a> {
    crucible: &'a Crucible,
    limits: crucible::Limits,
    /// What lines are known by, where they are kept.
    keys: Option<Keys>,
    /// How many are on their way at most: the rest stays in the file.
    in_flight: usize,
    running: JoinSet<Ended>,
    report: &'a mut Report,
}

impl Batch<'_> {
    /// Evaluates line by line, until the last or Ctrl-C; then lets what runs end.
    async fn feed(mut self, mut lines: mpsc::Receiver<Numbered>) -> Result<(), Failure> {
        let mut interrupts = 0;
        let mut open = true;
        let mut read = 0;
        // One listener throughout: a signal that comes between two of them is lost.
        #[cfg(unix)]
        let interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        #[cfg(not(unix))]
        let interrupted = tokio::signal::windows::ctrl_c();
        let mut interrupted = interrupted.map_err(|error| Failure::infrastructure(&error))?;
        while open || !self.running.is_empty() {
            tokio::select! {
                line = lines.recv(), if open && self.running.len() < self.in_flight => match line {
                    Some((number, line)) => {
                        read = number;
                        self.submit(number, line).await?;
                    }
                    None => open = false,
                },
                Some(ended) = self.running.join_next() => {
                    let ended = ended.map_err(|error| Failure::infrastructure(&error))?;
                    self.answer(&ended)?;
                }
                _ = interrupted.recv() => {
                    interrupts += 1;
                    open = false;
                    self.report.interrupted_after = Some(read);
                    self.interrupt(interrupts);
                }
            }
        }
        Ok(())
    }

    /// The first Ctrl-C lets what runs end, the second ends it.
    fn interrupt(&self, interrupts: u32) {
        let crucible = self.crucible.clone();
        let grace = if interrupts == 1 { DRAIN } else { Duration::ZERO };
        self.report.say(if interrupts == 1 {
            "draining: what runs may end; Ctrl-C again cancels it"
        } else {
            "cancelling"
        });
        tokio::spawn(async move { crucible.shutdown(grace).await });
    }

    async fn submit(&mut self, number: usize, line: Result<String, String>) -> Result<(), Failure> {
        let line = match line {
            Ok(line) if line.trim().is_empty() => return Ok(()),
            Ok(line) => Line::parse(&line),
            Err(error) => Err(error),
        };
        let read = line.and_then(|line| {
            let key = line.key.clone();
            line.evaluation(&self.limits).map(|evaluation| (key, evaluation))
        });
        let read = read.map(|(key, evaluation)| match &mut self.keys {
            Some(keys) => (key.clone(), keys.mark(&key, evaluation)),
            None => (key, evaluation),
        });
        let (key, evaluation) = match read {
            Ok(read) => read,
            Err(error) => {
                self.report.bad_line(number, &error);
                return Ok(());
            }
        };
        match self.crucible.submit(evaluation).await {
            Ok(handle) => {
                self.report.accepted();
                self.running.spawn(wait(key, handle));
                Ok(())
            }
            Err(SubmitError::Invalid(problems)) => {
                self.report.bad_line(number, &problems.to_string());
                Ok(())
            }
            Err(SubmitError::KeyReused { existing, .. }) => {
                let message = format!(
                    "the key was used for another evaluation, {existing}, in this data directory"
                );
                self.report.bad_line(number, &message);
                Ok(())
            }
            Err(SubmitError::Closed) => Ok(()),
            Err(error) => Err(Failure::infrastructure(&error)),
        }
    }

    fn answer(&mut self, ended: &Ended) -> Result<(), Failure> {
        let (state, outcome, error) = match &ended.result {
            Ok(outcome) if outcome.verdict().kind() == "cancelled" => {
                (RecordState::Cancelled, Some(outcome), None)
            }
            Ok(outcome) => (RecordState::Finished, Some(outcome), None),
            Err(WaitError::Expired { .. }) => (RecordState::Expired, None, None),
            Err(WaitError::Failed { report, .. }) => {
                (RecordState::Failed, None, Some(report.clone()))
            }
            // It waits in a queue that goes with this process.
            Err(WaitError::Closed { .. }) => (RecordState::Queued, None, None),
            Err(error) => (
                RecordState::Failed,
                None,
                Some(ErrorReport::new("wait", crucible::error_chain(error))),
            ),
        };
        let answer =
            Answer { key: &ended.key, id: Some(ended.id), state, outcome, error: error.as_ref() };
        self.report.answer(&answer).map_err(|error| Failure::infrastructure(&error))
    }
}

async fn wait(key: serde_json::Value, handle: Handle) -> Ended {
    let id = handle.id();
    Ended { key, id, result: handle.outcome().await }
}
