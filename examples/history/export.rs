//! Journals with their proof, for whoever believes neither this program nor this host.
//!
//! Lines of JSON, in this order: `{"checkpoint":…}`, if a key or a checkpoint was given; for each journal
//! `{"head":…,"proof":…}` and a line `{"entry":…}` for each of its entries. Where all journals are written there is no
//! proof for each: the heads themselves are the tree's leaves.

use std::io::Write as _;
use std::path::PathBuf;

use crucible::checkpoint::{Checkpoint, JournalHead};
use crucible::merkle::Inclusion;
use crucible::{DataDirectory, Digest, EvaluationId, Event, Storage as _};
use serde::Serialize;

use crate::common::Failure;
use crate::prove::{self, Sealed};

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Only these evaluations; all if there is none.
    id: Vec<EvaluationId>,
    /// A checkpoint that `checkpoint` has written: what is in it is exported.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    checkpoint: Option<PathBuf>,
    /// Make a checkpoint now, with the secret key in this file.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The file to write to; by default standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Checkpoint(&'a Checkpoint),
    Entry(&'a Event),
    #[serde(untagged)]
    Head {
        head: JournalHead,
        #[serde(skip_serializing_if = "Option::is_none")]
        proof: Option<Inclusion>,
    },
}

pub(crate) async fn export(directory: &DataDirectory, args: &ExportArgs) -> Result<u8, Failure> {
    let sealed = match (&args.checkpoint, &args.key) {
        (Some(file), _) => Some(prove::read(file)?),
        (None, Some(key)) => Some(prove::seal(directory, key).await?),
        (None, None) => None,
    };
    let mut out: Box<dyn std::io::Write> = match &args.out {
        Some(path) => {
            let failed = |error| Failure::usage(format!("{}: {error}", path.display()));
            Box::new(std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?))
        }
        None => Box::new(std::io::BufWriter::new(std::io::stdout())),
    };
    if let Some(sealed) = &sealed {
        write(&mut out, &Line::Checkpoint(&sealed.checkpoint))?;
    }
    let heads = match &sealed {
        Some(Sealed { heads, .. }) => heads.clone(),
        None => {
            let heads = crucible::checkpoint::heads(&directory.storage()).await;
            heads.map_err(|error| Failure::infrastructure(&error))?
        }
    };
    let leaves: Vec<Digest> =
        if args.id.is_empty() { Vec::new() } else { heads.iter().map(JournalHead::leaf).collect() };
    for id in &args.id {
        if !heads.iter().any(|head| head.evaluation == *id) {
            return Err(Failure::usage(format!(
                "there is no evaluation {id} in what is to be exported"
            )));
        }
    }
    for (index, head) in heads.iter().enumerate() {
        if !args.id.is_empty() && !args.id.contains(&head.evaluation) {
            continue;
        }
        if sealed.is_some() {
            write(&mut out, &Line::Head { head: *head, proof: Inclusion::of(&leaves, index) })?;
        }
        let journal = directory.storage().journal(head.evaluation, 0).await;
        for event in journal.map_err(|error| Failure::infrastructure(&error))? {
            write(&mut out, &Line::Entry(&event))?;
        }
    }
    out.flush().map_err(|error| Failure::infrastructure(&error))?;
    Ok(0)
}

fn write(out: &mut dyn std::io::Write, value: &Line<'_>) -> Result<(), Failure> {
    let text = crate::common::json_line(value).map_err(|error| Failure::infrastructure(&error))?;
    writeln!(out, "{text}").map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => crate::enough(),
        _ => Failure::infrastructure(&error),
    })
}
