//! Lines on standard output.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Prints a line.
///
/// # Errors
/// Returns [`Failure::closed_output`] if the reader closed the pipe.
pub(crate) fn print_line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(write_failure)
}

/// Returns the failure for an error from writing standard output.
pub(crate) fn write_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::closed_output(),
        _ => Failure::infrastructure(&error),
    }
}
