//! Keys and checkpoints.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use crucible::DataDirectory;
use crucible::checkpoint::{Checkpoint, CheckpointKey, JournalHead, heads};

use crate::common::Failure;
use crate::line;

#[derive(Debug, clap::Args)]
pub(crate) struct CheckpointArgs {
    /// The file with the secret key, as `key` makes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file for the checkpoint: the signed statement in a line, then the end of each journal in one.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A statement, and what it states.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) heads: Vec<JournalHead>,
}

/// Makes a key from the kernel's random numbers, readable by its owner alone.
pub(crate) fn make_key(out: &Path) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("{}: {error}", out.display()));
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::infrastructure(&error))?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(out).map_err(failed)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    file.write_all(format!("{digits}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    line(&CheckpointKey::from_bytes(&bytes).public().to_string())?;
    Ok(0)
}

pub(crate) fn read_key(path: &Path) -> Result<CheckpointKey, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    text.trim().parse().map_err(|error| failed(&error))
}

pub(crate) async fn seal(directory: &DataDirectory, key: &Path) -> Result<Sealed, Failure> {
    let key = read_key(key)?;
    let heads =
        heads(&directory.storage()).await.map_err(|error| Failure::infrastructure(&error))?;
    Ok(Sealed { checkpoint: Checkpoint::sign(&heads, &key), heads })
}

pub(crate) async fn checkpoint(
    directory: &DataDirectory,
    args: &CheckpointArgs,
) -> Result<u8, Failure> {
    let sealed = seal(directory, &args.key).await?;
    let written = std::fs::File::create(&args.out).and_then(|file| {
        let mut out = std::io::BufWriter::new(file);
        serde_json::to_writer(&mut out, &sealed.checkpoint)?;
        for head in &sealed.heads {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, head)?;
        }
        out.write_all(b"\n")?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    });
    written.map_err(|error| Failure::usage(format!("{}: {error}", args.out.display())))?;
    line(&format!("{} journals, root {}", sealed.checkpoint.count, sealed.checkpoint.root))?;
    Ok(0)
}

/// Reads what [`checkpoint`] wrote. Whether it is to be believed is for the signature to say.
pub(crate) fn read(path: &Path) -> Result<Sealed, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut lines = std::io::BufReader::new(file).lines();
    let first =
        lines.next().ok_or_else(|| failed(&"it is empty"))?.map_err(|error| failed(&error))?;
    let checkpoint = serde_json::from_str(&first).map_err(|error| failed(&error))?;
    let mut heads = Vec::new();
    for (number, text) in (2..).zip(lines) {
        let text = text.map_err(|error| failed(&error))?;
        let wrong = |error: serde_json::Error| failed(&format!("line {number}: {error}"));
        heads.push(serde_json::from_str(&text).map_err(wrong)?);
    }
    Ok(Sealed { checkpoint, heads })
}
