//! Exit statuses and failures of the command.

use std::error::Error;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use crucible::model::error_chain;

use crate::terminal_text::escaped;

/// An exit status of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The program exited with 0, or the command did what it was asked to do.
    Success,
    /// The program has another verdict, or a check found a problem.
    Negative,
    /// The arguments are wrong.
    Usage,
    /// The infrastructure failed.
    Infrastructure,
    /// Ctrl-C, as shells report it: 128 plus the number of `SIGINT`.
    Interrupted,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::Negative => 1,
            ExitStatus::Usage => 2,
            ExitStatus::Infrastructure => 3,
            ExitStatus::Interrupted => 130,
        })
    }
}

/// The reason why the command stops early.
#[derive(Debug)]
pub(crate) struct Failure {
    status: ExitStatus,
    message: String,
    fix: Option<String>,
}

impl Failure {
    /// Creates a failure for wrong arguments.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: ExitStatus::Usage, message: message.into(), fix: None }
    }

    /// Creates a failure for a file that the arguments name. `action` is a verb: read, write, open.
    pub(crate) fn file(action: &str, path: &Path, error: &dyn Display) -> Self {
        Self::usage(format!("cannot {action} {}: {error}", path.display()))
    }

    /// Creates a failure of the infrastructure.
    pub(crate) fn infrastructure(error: &(dyn Error + 'static)) -> Self {
        Self { status: ExitStatus::Infrastructure, message: error_chain(error), fix: None }
    }

    /// Creates the failure for Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self { status: ExitStatus::Interrupted, message: "interrupted".to_owned(), fix: None }
    }

    /// Creates the failure for a closed standard output, which ends the command silently, as it
    /// ends `cat`.
    pub(crate) fn closed_output() -> Self {
        Self { status: ExitStatus::Success, message: String::new(), fix: None }
    }

    /// Adds the action that solves the problem.
    pub(crate) fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Prints the failure to standard error and returns its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            // The message can quote text that the guest chose, such as the name of a file.
            eprintln!("error: {}", escaped(&self.message));
        }
        if let Some(fix) = &self.fix {
            eprintln!("fix: {}", escaped(fix));
        }
        self.status.into()
    }
}
