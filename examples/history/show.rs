//! One evaluation, as a whole.

use comfy_table::{Table, presets};
use crucible::{
    Captured, DataDirectory, EvaluationId, Event, EventKind, Program, Record, Storage as _,
    verify_against,
};
use serde::Serialize;

use crate::common::{Failure, inert, json_line};
use crate::data;
use crate::limits::{short, usage_line};
use crate::line;
use crate::list::{Keyed, verdict};

/// How many characters of an output are shown.
const SHOWN: usize = 4096;

#[derive(Serialize)]
struct Whole<'a> {
    record: Keyed<'a>,
    journal: &'a [Event],
}

pub(crate) async fn show(
    directory: &DataDirectory,
    id: EvaluationId,
    json: bool,
) -> Result<u8, Failure> {
    let storage = directory.storage();
    let record = storage.record(id).await.map_err(|error| Failure::infrastructure(&error))?;
    let record =
        record.ok_or_else(|| Failure::usage(format!("there is no evaluation {id}; see `list`")))?;
    let journal = storage.journal(id, 0).await.map_err(|error| Failure::infrastructure(&error))?;
    if json {
        let keyed = Keyed { key: data::line_key(&record.evaluation), record: &record };
        let whole = Whole { record: keyed, journal: &journal };
        line(&json_line(&whole).map_err(|error| Failure::infrastructure(&error))?)?;
        return Ok(0);
    }
    describe(&record)?;
    line("")?;
    line(&journal_table(&journal).to_string())?;
    match verify_against(&journal, record.head) {
        Ok(_) => line("the journal is whole")?,
        Err(error) => {
            line(&format!(
                "the journal is NOT what was written: {}",
                crucible::error_chain(&error)
            ))?;
            return Ok(crate::common::EXIT_VERDICT);
        }
    }
    Ok(0)
}

fn describe(record: &Record) -> Result<(), Failure> {
    let evaluation = &record.evaluation;
    let mut facts = vec![
        ("id", record.id.to_string()),
        ("key", data::line_key(evaluation).to_string()),
        ("program", program(&evaluation.program)),
        ("state", record.state.to_string()),
        ("verdict", verdict(record)),
        ("submitted", record.submitted_at.to_string()),
        ("attempts", record.attempt.to_string()),
    ];
    if !evaluation.tenant.is_empty() {
        facts.push(("tenant", evaluation.tenant.clone()));
    }
    facts
        .extend(evaluation.labels.iter().map(|(name, value)| ("label", format!("{name}={value}"))));
    if let Some(outcome) = &record.outcome {
        let written = outcome.stdout.total_bytes + outcome.stderr.total_bytes;
        facts.push(("used", usage_line(&outcome.usage, written)));
        let files = outcome.artifacts.iter();
        facts.extend(
            files.map(|file| ("file", format!("{} ({} bytes)", file.path, file.size_bytes))),
        );
    }
    for (name, value) in facts {
        line(&format!("{name:<10} {}", inert(&value)))?;
    }
    if let Some(outcome) = &record.outcome {
        output("stdout", &outcome.stdout)?;
        output("stderr", &outcome.stderr)?;
    }
    Ok(())
}

/// The program in a line.
fn program(program: &Program) -> String {
    match program {
        Program::Command(command) => command.argv.join(" "),
        Program::Source { language, text, .. } => format!("{language}, {} bytes", text.len()),
        _ => "of a kind that this program does not know".to_owned(),
    }
}

fn output(name: &str, captured: &Captured) -> Result<(), Failure> {
    if captured.total_bytes == 0 {
        return Ok(());
    }
    let text = captured.to_text();
    let shown: String = text.chars().take(SHOWN).collect();
    let note =
        if shown.len() == text.len() && !captured.is_truncated() { "" } else { ", the beginning" };
    line(&format!("--- {name} ({} bytes{note})", captured.total_bytes))?;
    line(inert(&shown).trim_end_matches('\n'))
}

fn journal_table(journal: &[Event]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["entry", "when", "what", "", "hash"]);
    for event in journal {
        let hash: String = event.hash.to_string().chars().take(12).collect();
        table.add_row([
            event.sequence.to_string(),
            event.time.to_string(),
            event.kind.name().to_owned(),
            inert(&detail(&event.kind)),
            hash,
        ]);
    }
    table
}

/// What an entry says beside its kind.
pub(crate) fn detail(kind: &EventKind) -> String {
    match kind {
        EventKind::Submitted { evaluation } => program(&evaluation.program),
        EventKind::Started { attempt, worker, engine } => {
            format!("attempt {attempt} by {worker} on {engine}")
        }
        EventKind::AttemptFailed { attempt, error, retry_in } => {
            format!(
                "attempt {attempt}: {}: {}; again in {}",
                error.kind,
                error.message,
                short(*retry_in)
            )
        }
        EventKind::Requeued { attempt, reason } => format!("attempt {attempt}: {reason:?}"),
        EventKind::Finished { outcome } => outcome.verdict().to_string(),
        EventKind::Failed { error } => format!("{}: {}", error.kind, error.message),
        EventKind::Cancelled { reason, .. } => reason.clone(),
        _ => String::new(),
    }
}
