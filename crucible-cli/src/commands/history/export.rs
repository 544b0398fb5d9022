//! `crucible history export`: journals with their proofs, for `crucible verify`.
//!
//! The lines of JSON are, in this order: `{"checkpoint":…}`, if a key or a checkpoint was given;
//! then for each journal `{"head":…,"proof":…}`, followed by `{"entry":…}` for each entry.
//! If all journals are exported, the heads have no proofs: they are the leaves of the tree.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crucible::checkpoint::merkle::Inclusion;
use crucible::checkpoint::{Checkpoint, JournalHead, heads};
use crucible::journal::Event;
use crucible::model::{Digest, EvaluationId};
use crucible::storage::{DataDirectory, Storage as _};
use serde::Serialize;

use super::checkpoint::CheckpointFile;
use crate::args::history::ExportArgs;
use crate::failure::{ExitStatus, Failure};
use crate::json;
use crate::output::write_failure;
use crate::progress;

/// A line of an export.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ExportLine<'a> {
    Checkpoint(&'a Checkpoint),
    Entry(&'a Event),
    #[serde(untagged)]
    Head {
        head: JournalHead,
        #[serde(skip_serializing_if = "Option::is_none")]
        proof: Option<Inclusion>,
    },
}

/// Writes the selected journals.
///
/// # Errors
/// Returns a failure if an evaluation does not exist, a file is unusable, or the storage fails.
pub(super) async fn export(
    directory: &DataDirectory,
    args: &ExportArgs,
) -> Result<ExitStatus, Failure> {
    let file = match (&args.checkpoint, &args.key) {
        (Some(path), _) => Some(CheckpointFile::read(path)?),
        (None, Some(key)) => Some(CheckpointFile::sign(directory, key).await?),
        (None, None) => None,
    };
    let heads = match &file {
        Some(file) => file.heads.clone(),
        None => {
            heads(&directory.storage()).await.map_err(|error| Failure::infrastructure(&error))?
        }
    };
    check_selection(&args.id, &heads)?;
    let mut out = open_output(args.out.as_deref())?;
    let checkpoint = file.map(|file| file.checkpoint);
    write_journals(directory, checkpoint.as_ref(), &heads, &args.id, &mut *out).await?;
    out.flush().map_err(write_failure)?;
    Ok(ExitStatus::Success)
}

/// Returns a failure if a selected evaluation has no journal.
fn check_selection(selected: &[EvaluationId], heads: &[JournalHead]) -> Result<(), Failure> {
    let missing = selected.iter().find(|id| !heads.iter().any(|head| head.evaluation == **id));
    match missing {
        Some(id) => Err(Failure::usage(format!("no evaluation {id} among the exported journals"))
            .with_fix("see `crucible history list` for the evaluations")),
        None => Ok(()),
    }
}

/// Opens the file, or standard output.
fn open_output(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    let Some(path) = path else { return Ok(Box::new(BufWriter::new(io::stdout()))) };
    let file = File::create(path).map_err(|error| Failure::file("create", path, &error))?;
    Ok(Box::new(BufWriter::new(file)))
}

/// Writes the checkpoint and the selected journals; an empty selection is all of them.
async fn write_journals(
    directory: &DataDirectory,
    checkpoint: Option<&Checkpoint>,
    heads: &[JournalHead],
    selected: &[EvaluationId],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if let Some(checkpoint) = checkpoint {
        write_line(out, &ExportLine::Checkpoint(checkpoint))?;
    }
    let leaves: Vec<Digest> = if selected.is_empty() {
        Vec::new()
    } else {
        heads.iter().map(JournalHead::leaf).collect()
    };
    let spinner = progress::spinner("exporting");
    for (index, head) in heads.iter().enumerate() {
        if !selected.is_empty() && !selected.contains(&head.evaluation) {
            continue;
        }
        if checkpoint.is_some() {
            let proof = Inclusion::of(&leaves, index);
            write_line(out, &ExportLine::Head { head: *head, proof })?;
        }
        let journal = directory.storage().journal(head.evaluation, 0).await;
        for event in journal.map_err(|error| Failure::infrastructure(&error))? {
            write_line(out, &ExportLine::Entry(&event))?;
        }
    }
    spinner.finish_and_clear();
    Ok(())
}

/// Writes a line.
fn write_line(out: &mut dyn Write, line: &ExportLine<'_>) -> Result<(), Failure> {
    writeln!(out, "{}", json::to_line(line)?).map_err(write_failure)
}
