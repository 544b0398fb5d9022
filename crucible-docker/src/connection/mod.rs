//! The connection to the daemon and to the guests of its containers.

mod attachment;
mod command_output;
mod daemon;
mod endpoint;
mod error;

pub(crate) use attachment::Attachment;
pub(crate) use command_output::{CommandOutput, forward};
pub(crate) use daemon::Daemon;
pub(crate) use error::{call_failed, status};
