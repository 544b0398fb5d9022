//! The choice of an action on a data directory.

use crucible::storage::DataDirectory;

use super::{checkpoint, export, follow, list, purge, redrive, show, verify};
use crate::args::history::{HistoryArgs, HistoryCommand};
use crate::data;
use crate::failure::{ExitStatus, Failure};

/// Opens the data directory, runs the action and closes the directory.
///
/// # Errors
/// Returns the failure of the action or of the directory.
pub(crate) async fn history(args: HistoryArgs) -> Result<ExitStatus, Failure> {
    let path = &args.data;
    match args.command {
        HistoryCommand::Key(args) => return checkpoint::create_key(&args.out),
        HistoryCommand::Follow(args) => return follow::follow(path, args).await,
        HistoryCommand::Redrive(args) => return redrive::redrive(path, args).await,
        _ => {}
    }
    let directory = data::open_existing(path).await?;
    let status = inspect(&directory, args.command).await;
    let closed = directory.close().await.map_err(|error| Failure::infrastructure(&error));
    status.and_then(|status| closed.map(|()| status))
}

/// Runs an action that needs no engine.
async fn inspect(
    directory: &DataDirectory,
    command: HistoryCommand,
) -> Result<ExitStatus, Failure> {
    match command {
        HistoryCommand::List(args) => list::list(directory, &args).await,
        HistoryCommand::Dead(args) => list::dead(directory, &args).await,
        HistoryCommand::Show(args) => show::show(directory, &args).await,
        HistoryCommand::Verify(args) => verify::verify(directory, &args).await,
        HistoryCommand::Checkpoint(args) => checkpoint::checkpoint(directory, &args).await,
        HistoryCommand::Export(args) => export::export(directory, &args).await,
        HistoryCommand::Purge(args) => purge::purge(directory, args).await,
        HistoryCommand::Key(_) | HistoryCommand::Follow(_) | HistoryCommand::Redrive(_) => {
            Ok(ExitStatus::Success)
        }
    }
}
