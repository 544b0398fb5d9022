//! `crucible history key` and `checkpoint`: signing keys and checkpoint files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, IntoInnerError, Write as _};
use std::path::Path;

use crucible::checkpoint::{Checkpoint, CheckpointKey, JournalHead, heads};
use crucible::storage::DataDirectory;

use crate::args::history::CheckpointArgs;
use crate::failure::{ExitStatus, Failure};
use crate::output::print_line;

/// A checkpoint and the journal ends that it covers.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    pub(super) checkpoint: Checkpoint,
    pub(super) heads: Vec<JournalHead>,
}

impl CheckpointFile {
    /// Signs the current ends of all journals with the secret key in a file.
    pub(super) async fn sign(directory: &DataDirectory, key: &Path) -> Result<Self, Failure> {
        let key = read_key(key)?;
        let heads =
            heads(&directory.storage()).await.map_err(|error| Failure::infrastructure(&error))?;
        Ok(Self { checkpoint: Checkpoint::sign(&heads, &key), heads })
    }

    /// Reads a checkpoint file. The caller verifies the signature.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        let mut lines = BufReader::new(file).lines();
        let first = lines
            .next()
            .ok_or_else(|| Failure::file("read", path, &"the file is empty"))?
            .map_err(|error| Failure::file("read", path, &error))?;
        let checkpoint =
            serde_json::from_str(&first).map_err(|error| Failure::file("read", path, &error))?;
        let mut heads = Vec::new();
        for (number, line) in (2..).zip(lines) {
            let line = line.map_err(|error| Failure::file("read", path, &error))?;
            heads.push(serde_json::from_str(&line).map_err(|error| {
                Failure::file("read", path, &format!("line {number}: {error}"))
            })?);
        }
        Ok(Self { checkpoint, heads })
    }

    /// Writes and syncs a checkpoint file.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut out, &self.checkpoint)?;
        for head in &self.heads {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, head)?;
        }
        out.write_all(b"\n")?;
        out.into_inner().map_err(IntoInnerError::into_error)?.sync_all()
    }
}

/// Signs a checkpoint and writes its file.
///
/// # Errors
/// Returns a failure if the key cannot be read, the storage fails or the file cannot be written.
pub(super) async fn checkpoint(
    directory: &DataDirectory,
    args: &CheckpointArgs,
) -> Result<ExitStatus, Failure> {
    let file = CheckpointFile::sign(directory, &args.key).await?;
    file.write(&args.out).map_err(|error| Failure::file("write", &args.out, &error))?;
    print_line(&format!("{} journals, root {}", file.checkpoint.count, file.checkpoint.root))?;
    Ok(ExitStatus::Success)
}

/// Creates a signing key from the random numbers of the kernel, in a file that only its owner can
/// read, and prints the public key.
///
/// # Errors
/// Returns a failure if the file exists or cannot be written.
pub(super) fn create_key(out: &Path) -> Result<ExitStatus, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::infrastructure(&error))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    options
        .open(out)
        .and_then(|mut file| {
            file.write_all(format!("{digits}\n").as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| Failure::file("create", out, &error))?;
    print_line(&CheckpointKey::from_bytes(&bytes).public().to_string())?;
    Ok(ExitStatus::Success)
}

/// Reads the secret key in a file.
fn read_key(path: &Path) -> Result<CheckpointKey, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    text.trim().parse().map_err(|error| {
        Failure::file("read", path, &error)
            .with_fix("create a key with `crucible history key --out FILE`")
    })
}
