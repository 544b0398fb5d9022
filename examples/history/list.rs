//! Lists of evaluations, for people and for programs.

use std::time::Duration;

use comfy_table::{Table, presets};
use crucible::{
    DataDirectory, EvaluationId, Record, RecordQuery, RecordState, StorageExt as _, Timestamp,
};
use futures::TryStreamExt as _;
use serde::Serialize;

use crate::common::{Failure, inert, json_line};
use crate::data;
use crate::limits::short;
use crate::line;

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// At most so many.
    #[arg(long, value_name = "COUNT", conflicts_with = "all")]
    limit: Option<usize>,
    /// All of them; by default 100, and with --json all.
    #[arg(long)]
    all: bool,
    /// The newest first.
    #[arg(long)]
    newest: bool,
    /// Only those after this one, in the order of the list.
    #[arg(long, value_name = "ID")]
    after: Option<EvaluationId>,
    /// Print a record a line, as JSON.
    #[arg(long)]
    json: bool,
}

/// Which evaluations are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// Only those in this state; may be given several times.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<RecordState>,
    /// Only this tenant's.
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// Only those with this label; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is not of the form NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Wanted {
    pub(crate) fn query(&self) -> RecordQuery {
        let mut query = RecordQuery::new();
        query.states.clone_from(&self.state);
        query.tenant.clone_from(&self.tenant);
        query.labels.extend(self.label.iter().cloned());
        query
    }
}

/// A record in its wire form, with what the caller knows it by.
#[derive(Debug, Serialize)]
pub(crate) struct Keyed<'a> {
    pub(crate) key: serde_json::Value,
    #[serde(flatten)]
    pub(crate) record: &'a Record,
}

/// How many a list for people has, unless it is told otherwise.
const SHOWN: usize = 100;

pub(crate) async fn list(directory: &DataDirectory, args: &ListArgs) -> Result<u8, Failure> {
    let most = match args.limit {
        Some(limit) => limit,
        None if args.all || args.json => usize::MAX,
        None => SHOWN,
    };
    let mut query = args.wanted.query();
    query.newest_first = args.newest;
    query.after = args.after;
    print(directory, query, most, args.json).await
}

pub(crate) async fn dead(directory: &DataDirectory, json: bool) -> Result<u8, Failure> {
    print(directory, RecordQuery::new().with_state(RecordState::Failed), usize::MAX, json).await
}

async fn print(
    directory: &DataDirectory,
    mut query: RecordQuery,
    most: usize,
    json: bool,
) -> Result<u8, Failure> {
    let storage = directory.storage();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "id",
        "key",
        "state",
        "verdict",
        "submitted",
        "took",
    ]);
    let (mut shown, mut damaged, mut last) = (0, 0, None);
    // One more than is printed: it shows whether there are more.
    query.limit = most.saturating_add(1);
    let mut records = storage.records_stream(query);
    let mut more = false;
    while let Some(record) =
        records.try_next().await.map_err(|error| Failure::infrastructure(&error))?
    {
        let record = match record {
            Ok(_) if shown == most => {
                more = true;
                break;
            }
            Ok(record) => record,
            Err(corrupt) => {
                damaged += 1;
                let problem = inert(&corrupt.problem);
                eprintln!("damaged: evaluation {}: {problem}", corrupt.evaluation);
                continue;
            }
        };
        shown += 1;
        last = Some(record.id);
        if json {
            let keyed = Keyed { key: data::line_key(&record.evaluation), record: &record };
            line(&json_line(&keyed).map_err(|error| Failure::infrastructure(&error))?)?;
        } else {
            table.add_row(row(&record));
        }
    }
    if !json && shown > 0 {
        line(&table.to_string())?;
    }
    if !json
        && more
        && let Some(last) = last
    {
        eprintln!("there are more: --after {last}, or --all");
    }
    if !json && shown == 0 {
        eprintln!("there is none");
    }
    Ok(if damaged > 0 { crate::common::EXIT_VERDICT } else { 0 })
}

fn row(record: &Record) -> [String; 6] {
    let key = match data::line_key(&record.evaluation) {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(key) => key,
        other => other.to_string(),
    };
    [
        record.id.to_string(),
        inert(&key),
        record.state.to_string(),
        inert(&verdict(record)),
        submitted(record.submitted_at),
        record.outcome.as_ref().map(|outcome| short(outcome.usage.wall)).unwrap_or_default(),
    ]
}

/// What came of it, or what stood in the way.
pub(crate) fn verdict(record: &Record) -> String {
    match (&record.outcome, &record.error, &record.reason) {
        (Some(outcome), ..) => outcome.verdict().to_string(),
        (None, Some(error), _) => format!("{}: {}", error.kind, error.message),
        (None, None, Some(reason)) => reason.clone(),
        (None, None, None) => String::new(),
    }
}

fn submitted(at: Timestamp) -> String {
    let ago = Timestamp::now().saturating_since(at);
    let ago = Duration::from_secs(ago.as_secs());
    format!("{at} ({} ago)", humantime::format_duration(ago))
}
