//! The report of a batch: a line for each outcome, progress, and a table at the end.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use crucible::Outcome;
use crucible::journal::RecordState;
use crucible::model::{ErrorReport, EvaluationId};
use crucible::result::Verdict;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::failure::Failure;
use crate::format::short_duration;
use crate::json;
use crate::progress;
use crate::terminal_text::escaped;
use crate::text_table::{Align, TextTable};

/// A line of the output.
#[derive(Debug, Serialize)]
pub(super) struct BatchAnswer<'a> {
    pub(super) key: &'a serde_json::Value,
    pub(super) id: Option<EvaluationId>,
    pub(super) state: RecordState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<&'a Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a ErrorReport>,
}

/// The progress and the totals of a batch.
pub(super) struct BatchReport {
    /// The totals by verdict, or by state without an outcome.
    totals: BTreeMap<String, VerdictTotal>,
    pub(super) bad_lines: usize,
    pub(super) failures: usize,
    /// The number of evaluations that were still queued at the interruption.
    not_run: usize,
    /// The number of the last line that was read before the interruption.
    pub(super) interrupted_after: Option<usize>,
    progress: ProgressBar,
}

/// The outcomes with one verdict.
#[derive(Default)]
struct VerdictTotal {
    count: usize,
    walls: Vec<Duration>,
}

impl VerdictTotal {
    /// Returns a percentile of the wall times. The wall times are sorted.
    fn percentile(&self, percent: usize) -> String {
        let index = self.walls.len().saturating_sub(1) * percent / 100;
        self.walls.get(index).map_or("-".to_owned(), |wall| short_duration(*wall))
    }
}

impl BatchReport {
    /// Creates an empty report.
    pub(super) fn new() -> Self {
        Self {
            totals: BTreeMap::new(),
            bad_lines: 0,
            failures: 0,
            not_run: 0,
            interrupted_after: None,
            progress: progress::bar(0, "{bar:30} {pos}/{len} {per_sec} {elapsed}"),
        }
    }

    /// Counts an accepted evaluation.
    pub(super) fn accepted(&self) {
        self.progress.inc_length(1);
    }

    /// Reports an invalid line.
    pub(super) fn bad_line(&mut self, number: usize, message: &str) {
        self.bad_lines += 1;
        self.message(&format!("line {number}: {message}"));
    }

    /// Prints a message above the progress bar.
    pub(super) fn message(&self, message: &str) {
        self.progress.suspend(|| eprintln!("{}", escaped(message)));
    }

    /// Prints and counts an answer.
    ///
    /// # Errors
    /// Returns a failure if standard output cannot be written.
    pub(super) fn answer(&mut self, answer: &BatchAnswer<'_>) -> Result<(), Failure> {
        let title = answer
            .outcome
            .map_or_else(|| answer.state.to_string(), |outcome| title(outcome.verdict()));
        let total = self.totals.entry(title).or_default();
        total.count += 1;
        match answer.outcome {
            Some(outcome) => total.walls.push(outcome.usage.wall),
            None if answer.state == RecordState::Queued => self.not_run += 1,
            None => self.failures += 1,
        }
        self.progress.inc(1);
        let mut line = json::to_line(answer)?;
        line.push('\n');
        self.progress
            .suspend(|| {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
            })
            .map_err(|error| Failure::infrastructure(&error))
    }

    /// Prints the table and the counts.
    pub(super) fn finish(mut self, elapsed: Duration) {
        self.progress.finish_and_clear();
        let mut table = TextTable::new(["verdict", "count", "wall p50", "wall p95"]).with_align([
            Align::Left,
            Align::Right,
            Align::Right,
            Align::Right,
        ]);
        let mut outcomes = 0;
        for (title, total) in &mut self.totals {
            total.walls.sort_unstable();
            outcomes += total.walls.len();
            let count = total.count.to_string();
            table.push([title.clone(), count, total.percentile(50), total.percentile(95)]);
        }
        eprintln!("{table}");
        let rate = outcomes as f64 / elapsed.as_secs_f64().max(1e-9);
        eprintln!("{outcomes} outcomes in {} ({rate:.0} per second)", short_duration(elapsed));
        if self.failures > 0 {
            eprintln!("{} without an outcome", self.failures);
        }
        if self.bad_lines > 0 {
            eprintln!("{} invalid lines", self.bad_lines);
        }
        if let Some(line) = self.interrupted_after {
            let not_run = self.not_run;
            eprintln!(
                "interrupted: {not_run} accepted evaluations did not run; \
                 lines after {line} were not read"
            );
        }
    }
}

/// Returns the row of a verdict: exits, signals and limits in detail, others by their kind.
fn title(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Exited { .. } | Verdict::Signaled { .. } | Verdict::LimitExceeded { .. } => {
            verdict.to_string()
        }
        other => other.kind().to_owned(),
    }
}
