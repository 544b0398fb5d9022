//! `crucible history show`: one evaluation.

use crucible::journal::{Event, EventKind, Record, verify_against};
use crucible::model::error_chain;
use crucible::model::{EvaluationId, Program};
use crucible::result::Captured;
use crucible::storage::{DataDirectory, Storage as _};
use serde::Serialize;

use super::list::{KeyedRecord, result};
use crate::args::history::ShowArgs;
use crate::data;
use crate::failure::{ExitStatus, Failure};
use crate::format::{short_duration, usage_line};
use crate::json;
use crate::output::print_line;
use crate::terminal_text::escaped;
use crate::text_table::TextTable;

/// The number of characters of each output stream that are printed.
const OUTPUT_CHARS: usize = 4096;

/// The number of hexadecimal digits of a hash in the table.
const HASH_DIGITS: usize = 12;

/// The JSON form of the whole evaluation.
#[derive(Serialize)]
struct RecordAndJournal<'a> {
    record: KeyedRecord<'a>,
    journal: &'a [Event],
}

/// Prints the record and the journal of an evaluation, and verifies the journal.
///
/// # Errors
/// Returns a failure if the evaluation does not exist or the storage fails.
pub(super) async fn show(
    directory: &DataDirectory,
    args: &ShowArgs,
) -> Result<ExitStatus, Failure> {
    let (record, journal) = load(directory, args.id).await?;
    if args.json {
        let whole = RecordAndJournal { record: KeyedRecord::new(&record), journal: &journal };
        print_line(&json::to_line(&whole)?)?;
        return Ok(ExitStatus::Success);
    }
    print_record(&record)?;
    print_line("")?;
    print_line(&journal_table(&journal).to_string())?;
    match verify_against(&journal, record.head) {
        Ok(_) => {
            print_line("journal: verified")?;
            Ok(ExitStatus::Success)
        }
        Err(error) => {
            print_line(&escaped(&format!("journal: NOT verified: {}", error_chain(&error))))?;
            Ok(ExitStatus::Negative)
        }
    }
}

/// Reads the record and the journal of an evaluation.
async fn load(
    directory: &DataDirectory,
    id: EvaluationId,
) -> Result<(Record, Vec<Event>), Failure> {
    let storage = directory.storage();
    let record = storage.record(id).await.map_err(|error| Failure::infrastructure(&error))?;
    let record = record.ok_or_else(|| {
        Failure::usage(format!("no evaluation {id}"))
            .with_fix("see `crucible history list` for the evaluations")
    })?;
    let journal = storage.journal(id, 0).await.map_err(|error| Failure::infrastructure(&error))?;
    Ok((record, journal))
}

/// Prints the facts and the output of a record.
fn print_record(record: &Record) -> Result<(), Failure> {
    for (name, value) in facts(record) {
        print_line(&format!("{name:<10} {}", escaped(&value)))?;
    }
    if let Some(outcome) = &record.outcome {
        print_output("stdout", &outcome.stdout)?;
        print_output("stderr", &outcome.stderr)?;
    }
    Ok(())
}

/// Returns the facts of a record with their names.
fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let evaluation = &record.evaluation;
    let mut facts = vec![
        ("id", record.id.to_string()),
        ("key", data::line_key(evaluation).to_string()),
        ("program", program_line(&evaluation.program)),
        ("state", record.state.to_string()),
        ("verdict", result(record)),
        ("submitted", record.submitted_at.to_string()),
        ("attempts", record.attempt.to_string()),
    ];
    if !evaluation.tenant.is_empty() {
        facts.push(("tenant", evaluation.tenant.clone()));
    }
    let labels = evaluation.labels.iter();
    facts.extend(labels.map(|(name, value)| ("label", format!("{name}={value}"))));
    if let Some(outcome) = &record.outcome {
        let output_bytes = outcome.stdout.total_bytes + outcome.stderr.total_bytes;
        facts.push(("used", usage_line(&outcome.usage, output_bytes)));
        let files = outcome.artifacts.iter();
        facts.extend(
            files.map(|file| ("file", format!("{} ({} bytes)", file.path, file.size_bytes))),
        );
    }
    facts
}

/// Returns a program as one line.
fn program_line(program: &Program) -> String {
    match program {
        Program::Command(command) => command.argv.join(" "),
        Program::Source { language, text, .. } => format!("{language}, {} bytes", text.len()),
        _ => "unknown kind of program".to_owned(),
    }
}

/// Prints the beginning of an output stream.
fn print_output(name: &str, captured: &Captured) -> Result<(), Failure> {
    if captured.total_bytes == 0 {
        return Ok(());
    }
    let text = captured.to_text();
    let beginning: String = text.chars().take(OUTPUT_CHARS).collect();
    let complete = beginning.len() == text.len() && !captured.is_truncated();
    let note = if complete { "" } else { ", the beginning" };
    print_line(&format!("--- {name} ({} bytes{note})", captured.total_bytes))?;
    print_line(escaped(&beginning).trim_end_matches('\n'))
}

/// Returns the entries of a journal as a table.
fn journal_table(journal: &[Event]) -> TextTable<5> {
    let mut table = TextTable::new(["entry", "time", "kind", "detail", "hash"]);
    for event in journal {
        table.push([
            event.sequence.to_string(),
            event.time.to_string(),
            event.kind.name().to_owned(),
            escaped(&event_detail(&event.kind)).replace('\n', "\\n"),
            event.hash.to_string().chars().take(HASH_DIGITS).collect(),
        ]);
    }
    table
}

/// Returns the detail of an entry beside its kind.
pub(super) fn event_detail(kind: &EventKind) -> String {
    match kind {
        EventKind::Submitted { evaluation } => program_line(&evaluation.program),
        EventKind::Started { attempt, worker, engine } => {
            format!("attempt {attempt} by {worker} on {engine}")
        }
        EventKind::AttemptFailed { attempt, error, retry_in } => format!(
            "attempt {attempt}: {}: {}; again in {}",
            error.kind,
            error.message,
            short_duration(*retry_in)
        ),
        EventKind::Requeued { attempt, reason } => format!("attempt {attempt}: {reason:?}"),
        EventKind::Finished { outcome } => outcome.verdict().to_string(),
        EventKind::Failed { error } => format!("{}: {}", error.kind, error.message),
        EventKind::Cancelled { reason, .. } => reason.clone(),
        _ => String::new(),
    }
}
