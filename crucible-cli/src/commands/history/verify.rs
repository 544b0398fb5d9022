//! `crucible history verify`: every journal entry and every blob of a data directory.

use crucible::checkpoint::{self, CheckpointPublicKey};
use crucible::model::error_chain;
use crucible::storage::{DataDirectory, verify_storage};

use super::checkpoint::CheckpointFile;
use crate::args::history::VerifyStorageArgs;
use crate::failure::{ExitStatus, Failure};
use crate::output::print_line;
use crate::progress;
use crate::terminal_text::escaped;

/// Verifies the storage, and then the checkpoint if there is one.
///
/// # Errors
/// Returns a failure if the storage or the checkpoint cannot be read.
pub(super) async fn verify(
    directory: &DataDirectory,
    args: &VerifyStorageArgs,
) -> Result<ExitStatus, Failure> {
    let spinner = progress::spinner("verifying");
    let report = verify_storage(&directory.storage()).await;
    spinner.finish_and_clear();
    let report = report.map_err(|error| Failure::infrastructure(&error))?;
    for wrong in &report.wrong {
        print_line(&escaped(&format!("evaluation {}: {}", wrong.evaluation, wrong.problem)))?;
    }
    let result = match report.wrong.len() {
        0 => "verified".to_owned(),
        count => format!("{count} corrupt"),
    };
    print_line(&format!(
        "{} journals, {} entries, {} files: {result}",
        report.evaluations, report.entries, report.blobs
    ))?;
    let mut status = if report.is_sound() { ExitStatus::Success } else { ExitStatus::Negative };
    if let (Some(file), Some(key)) = (&args.checkpoint, &args.key) {
        let file = CheckpointFile::read(file)?;
        if !verify_checkpoint(directory, &file, key).await? {
            status = ExitStatus::Negative;
        }
    }
    Ok(status)
}

/// Verifies that the storage has everything that a checkpoint states, and prints the result.
async fn verify_checkpoint(
    directory: &DataDirectory,
    file: &CheckpointFile,
    key: &CheckpointPublicKey,
) -> Result<bool, Failure> {
    let CheckpointFile { checkpoint, heads } = file;
    let verified = async {
        checkpoint.verify(key)?;
        checkpoint.covers(heads)?;
        checkpoint::verify_heads(&directory.storage(), heads).await
    };
    let result = verified.await;
    let text = match &result {
        Ok(()) => format!("{} journals, all present", checkpoint.count),
        Err(error) => error_chain(error),
    };
    print_line(&escaped(&format!("checkpoint of {}: {text}", checkpoint.time)))?;
    Ok(result.is_ok())
}
