//! The tokio runtime of a command.

use std::future::Future;

use crate::failure::{ExitStatus, Failure};

/// Runs a command to its end.
///
/// # Errors
/// Returns the failure of the command, or a failure if the runtime cannot start.
pub(crate) fn block_on(
    command: impl Future<Output = Result<ExitStatus, Failure>>,
) -> Result<ExitStatus, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cpus().min(8))
        .enable_all()
        .build()
        .map_err(|error| Failure::infrastructure(&error))?;
    runtime.block_on(command)
}

/// Returns the number of CPUs that this process may use.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}
