//! `crucible history list` and `dead`: lists of evaluations.

use std::time::Duration;

use crucible::journal::{Record, RecordState};
use crucible::model::{EvaluationId, Timestamp};
use crucible::storage::{DataDirectory, RecordQuery, StorageExt as _};
use futures::TryStreamExt as _;
use serde::Serialize;

use crate::args::history::{DeadArgs, ListArgs, RecordFilterArgs};
use crate::data;
use crate::failure::{ExitStatus, Failure};
use crate::format::short_duration;
use crate::json;
use crate::output::print_line;
use crate::terminal_text::escaped;
use crate::text_table::TextTable;

/// The default number of rows in a table.
const DEFAULT_ROWS: usize = 100;

/// A record in its wire form, with the key of its batch line.
#[derive(Debug, Serialize)]
pub(super) struct KeyedRecord<'a> {
    key: serde_json::Value,
    #[serde(flatten)]
    record: &'a Record,
}

impl<'a> KeyedRecord<'a> {
    /// Adds the key to a record.
    pub(super) fn new(record: &'a Record) -> Self {
        Self { key: data::line_key(&record.evaluation), record }
    }
}

/// Lists the selected evaluations.
///
/// # Errors
/// Returns a failure if the storage fails.
pub(super) async fn list(
    directory: &DataDirectory,
    args: &ListArgs,
) -> Result<ExitStatus, Failure> {
    let limit = match args.limit {
        Some(limit) => limit,
        None if args.all || args.json => usize::MAX,
        None => DEFAULT_ROWS,
    };
    let mut query = query(&args.filter);
    query.newest_first = args.newest;
    query.after = args.after;
    RecordList::new(limit, args.json).print(directory, query).await
}

/// Lists all dead letters.
///
/// # Errors
/// Returns a failure if the storage fails.
pub(super) async fn dead(
    directory: &DataDirectory,
    args: &DeadArgs,
) -> Result<ExitStatus, Failure> {
    let query = RecordQuery::new().with_state(RecordState::Failed);
    RecordList::new(usize::MAX, args.json).print(directory, query).await
}

/// Returns the query that a filter selects.
fn query(filter: &RecordFilterArgs) -> RecordQuery {
    let mut query = RecordQuery::new();
    query.states.clone_from(&filter.state);
    query.tenant.clone_from(&filter.tenant);
    query.labels.extend(filter.label.iter().cloned());
    query
}

/// A list of records that is being printed.
struct RecordList {
    limit: usize,
    json: bool,
    table: TextTable<6>,
    printed: usize,
    corrupt: usize,
    /// The last printed record.
    last: Option<EvaluationId>,
}

impl RecordList {
    /// Creates a list of at most `limit` records.
    fn new(limit: usize, json: bool) -> Self {
        let table = TextTable::new(["id", "key", "state", "verdict", "submitted", "took"]);
        Self { limit, json, table, printed: 0, corrupt: 0, last: None }
    }

    /// Prints the records and the corrupt records up to the limit.
    async fn print(
        mut self,
        directory: &DataDirectory,
        mut query: RecordQuery,
    ) -> Result<ExitStatus, Failure> {
        // One more record than the limit shows whether the list continues.
        query.limit = self.limit.saturating_add(1);
        let storage = directory.storage();
        let mut records = storage.records_stream(query);
        while let Some(record) =
            records.try_next().await.map_err(|error| Failure::infrastructure(&error))?
        {
            match record {
                Ok(_) if self.printed == self.limit => return self.finish(true),
                Ok(record) => self.add(&record)?,
                Err(corrupt) => {
                    self.corrupt += 1;
                    let problem = escaped(&corrupt.problem);
                    eprintln!("corrupt: evaluation {}: {problem}", corrupt.evaluation);
                }
            }
        }
        self.finish(false)
    }

    /// Prints a record, or adds it to the table.
    fn add(&mut self, record: &Record) -> Result<(), Failure> {
        self.printed += 1;
        self.last = Some(record.id);
        if self.json {
            return print_line(&json::to_line(&KeyedRecord::new(record))?);
        }
        self.table.push(row(record));
        Ok(())
    }

    /// Prints the table and the number of further records.
    fn finish(self, continues: bool) -> Result<ExitStatus, Failure> {
        if !self.json {
            if self.printed > 0 {
                print_line(&self.table.to_string())?;
            } else {
                eprintln!("no evaluations");
            }
            if let (Some(last), true) = (self.last, continues) {
                eprintln!("the list continues: --after {last}, or --all");
            }
        }
        Ok(if self.corrupt > 0 { ExitStatus::Negative } else { ExitStatus::Success })
    }
}

/// Returns the cells of a record.
fn row(record: &Record) -> [String; 6] {
    let key = match data::line_key(&record.evaluation) {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(key) => key,
        other => other.to_string(),
    };
    let wall = record.outcome.as_ref().map(|outcome| short_duration(outcome.usage.wall));
    // A cell is one line.
    let cell = |text: &str| escaped(text).replace('\n', "\\n");
    [
        record.id.to_string(),
        cell(&key),
        record.state.to_string(),
        cell(&result(record)),
        submitted(record.submitted_at),
        wall.unwrap_or_default(),
    ]
}

/// Returns the verdict of a record, or the error or reason without an outcome.
pub(super) fn result(record: &Record) -> String {
    match (&record.outcome, &record.error, &record.reason) {
        (Some(outcome), ..) => outcome.verdict().to_string(),
        (None, Some(error), _) => format!("{}: {}", error.kind, error.message),
        (None, None, Some(reason)) => reason.clone(),
        (None, None, None) => String::new(),
    }
}

/// Returns a time, and how long ago it was.
fn submitted(at: Timestamp) -> String {
    let ago = Timestamp::now().saturating_since(at);
    let ago = Duration::from_secs(ago.as_secs());
    format!("{at} ({} ago)", humantime::format_duration(ago))
}
