//! What is shown: a line for each outcome, progress, and a table at the end.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use crucible::{ErrorReport, EvaluationId, Outcome, RecordState, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::common::{inert, json_line};
use crate::limits::short;

/// A line of the output.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) key: &'a serde_json::Value,
    pub(crate) id: Option<EvaluationId>,
    pub(crate) state: RecordState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<&'a Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a ErrorReport>,
}

/// Collects what is shown at the end, and shows what is shown meanwhile.
pub(crate) struct Report {
    /// By verdict, or by state where there is none.
    rows: BTreeMap<String, Row>,
    pub(crate) bad_lines: usize,
    pub(crate) failures: usize,
    /// How many were still queued when it was interrupted.
    pub(crate) not_run: usize,
    /// The number of the last line that was read before it was interrupted.
    pub(crate) interrupted_after: Option<usize>,
    progress: ProgressBar,
}

/// A row of the table.
#[derive(Default)]
struct Row {
    count: usize,
    walls: Vec<Duration>,
}

impl Report {
    /// A report with a progress bar, if standard error is a terminal.
    pub(crate) fn new() -> Self {
        let progress =
            if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {elapsed}")
        {
            progress.set_style(style);
        }
        Self {
            rows: BTreeMap::new(),
            bad_lines: 0,
            failures: 0,
            not_run: 0,
            interrupted_after: None,
            progress,
        }
    }

    /// One more was accepted.
    pub(crate) fn accepted(&self) {
        self.progress.inc_length(1);
    }

    /// Says that a line is bad, and which.
    pub(crate) fn bad_line(&mut self, number: usize, message: &str) {
        self.bad_lines += 1;
        self.say(&format!("line {number}: {message}"));
    }

    /// Says something beside the progress bar.
    pub(crate) fn say(&self, message: &str) {
        self.progress.suspend(|| eprintln!("{}", inert(message)));
    }

    /// Writes a line of output, and takes note of it.
    pub(crate) fn answer(&mut self, answer: &Answer<'_>) -> io::Result<()> {
        let title =
            answer.outcome.map_or(answer.state.to_string(), |outcome| name(outcome.verdict()));
        let row = self.rows.entry(title).or_default();
        row.count += 1;
        match answer.outcome {
            Some(outcome) => row.walls.push(outcome.usage.wall),
            None if answer.state == RecordState::Queued => self.not_run += 1,
            None => self.failures += 1,
        }
        self.progress.inc(1);
        let mut line = json_line(answer)?;
        line.push('\n');
        self.progress.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
        })
    }

    /// Shows the table.
    pub(crate) fn finish(mut self, elapsed: Duration) {
        self.progress.finish_and_clear();
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["verdict", "count", "wall p50", "wall p95"]);
        let mut total = 0;
        for (title, Row { count, walls }) in &mut self.rows {
            walls.sort_unstable();
            total += walls.len();
            let at = |percent: usize| {
                walls
                    .get(walls.len().saturating_sub(1) * percent / 100)
                    .map_or("-".to_owned(), |wall| short(*wall))
            };
            table.add_row([title.clone(), count.to_string(), at(50), at(95)]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        eprintln!("{table}");
        let rate = total as f64 / elapsed.as_secs_f64().max(1e-9);
        eprintln!("{total} outcomes in {} ({rate:.0} a second)", short(elapsed));
        if self.failures > 0 {
            eprintln!("{} came to no outcome", self.failures);
        }
        if self.bad_lines > 0 {
            eprintln!("{} bad lines", self.bad_lines);
        }
        if let Some(line) = self.interrupted_after {
            let not_run = self.not_run;
            eprintln!(
                "interrupted: {not_run} were accepted and not run; nothing after line {line} was read"
            );
        }
    }
}

/// A verdict as the table has it: a compile failure whatever its cause, an exit with its code.
fn name(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Exited { .. } | Verdict::Signaled { .. } | Verdict::LimitExceeded { .. } => {
            verdict.to_string()
        }
        other => other.kind().to_owned(),
    }
}
