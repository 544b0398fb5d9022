//! Whether everything is what was written.

use std::path::PathBuf;

use crucible::checkpoint::{self, CheckpointPublicKey};
use crucible::{DataDirectory, verify_storage};

use crate::common::{EXIT_VERDICT, Failure, inert};
use crate::{line, prove};

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// A checkpoint that was kept elsewhere: nothing that it states may be missing.
    #[arg(long, value_name = "FILE", requires = "key")]
    checkpoint: Option<PathBuf>,
    /// The public key of whoever signed the checkpoint.
    #[arg(long, value_name = "KEY", requires = "checkpoint")]
    key: Option<CheckpointPublicKey>,
}

pub(crate) async fn verify(directory: &DataDirectory, args: &VerifyArgs) -> Result<u8, Failure> {
    let storage = directory.storage();
    let report = verify_storage(&storage).await.map_err(|error| Failure::infrastructure(&error))?;
    for wrong in &report.wrong {
        line(&inert(&format!("evaluation {}: {}", wrong.evaluation, wrong.problem)))?;
    }
    let found = found(report.wrong.len());
    line(&format!(
        "{} journals, {} entries, {} files: {found}",
        report.evaluations, report.entries, report.blobs
    ))?;
    let mut status = if report.is_sound() { 0 } else { EXIT_VERDICT };
    if let (Some(file), Some(key)) = (&args.checkpoint, &args.key) {
        let sealed = prove::read(file)?;
        let held = async {
            sealed.checkpoint.verify(key)?;
            sealed.checkpoint.covers(&sealed.heads)?;
            checkpoint::verify_heads(&storage, &sealed.heads).await
        };
        match held.await {
            Ok(()) => line(&format!(
                "the checkpoint of {}: {} journals, all there",
                sealed.checkpoint.time, sealed.checkpoint.count
            ))?,
            Err(error) => {
                line(&format!(
                    "the checkpoint of {}: {}",
                    sealed.checkpoint.time,
                    crucible::error_chain(&error)
                ))?;
                status = EXIT_VERDICT;
            }
        }
    }
    Ok(status)
}

fn found(problems: usize) -> String {
    match problems {
        0 => "all as they were written".to_owned(),
        1 => "1 is not what was written".to_owned(),
        count => format!("{count} are not what was written"),
    }
}
