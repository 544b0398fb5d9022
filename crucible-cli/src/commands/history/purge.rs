//! `crucible history purge`: removal of ended evaluations.

use crucible::platform::{Retention, purge_storage};
use crucible::storage::DataDirectory;

use crate::args::history::PurgeArgs;
use crate::failure::{ExitStatus, Failure};
use crate::output::print_line;
use crate::progress;

/// Removes the selected evaluations and compacts the directory.
///
/// # Errors
/// Returns a failure if the selection is invalid or the storage fails.
pub(super) async fn purge(
    directory: &DataDirectory,
    args: PurgeArgs,
) -> Result<ExitStatus, Failure> {
    let mut retention = Retention::older_than(args.older_than.unwrap_or_default());
    retention.states = args.filter.state;
    retention.tenant = args.filter.tenant;
    retention.labels.extend(args.filter.label);
    let spinner = progress::spinner("purging");
    let report = purge_storage(&directory.storage(), &retention)
        .await
        .map_err(|error| Failure::infrastructure(&error))?;
    directory.compact().await.map_err(|error| Failure::infrastructure(&error))?;
    spinner.finish_and_clear();
    print_line(&format!("{} removed", report.removed))?;
    Ok(ExitStatus::Success)
}
