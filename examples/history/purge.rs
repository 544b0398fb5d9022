//! Removing what has ended.

use std::time::Duration;

use crucible::{DataDirectory, Retention, purge_storage};

use crate::common::Failure;
use crate::line;
use crate::list::Wanted;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(crate) struct PurgeArgs {
    /// Only those that ended longer ago than this, such as 30d or 12h.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, group = "which")]
    older_than: Option<Duration>,
    /// All that have ended, but for what the other options exclude.
    #[arg(long, group = "which")]
    all: bool,
    #[command(flatten)]
    wanted: Wanted,
}

pub(crate) async fn purge(directory: &DataDirectory, args: PurgeArgs) -> Result<u8, Failure> {
    let mut retention = Retention::older_than(args.older_than.unwrap_or_default());
    retention.states = args.wanted.state;
    retention.tenant = args.wanted.tenant;
    retention.labels.extend(args.wanted.label);
    let report = purge_storage(&directory.storage(), &retention).await;
    let report = report.map_err(|error| Failure::infrastructure(&error))?;
    directory.compact().await.map_err(|error| Failure::infrastructure(&error))?;
    line(&format!("{} removed", report.removed))?;
    Ok(0)
}
