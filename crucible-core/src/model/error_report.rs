//! Errors as text: reports for the journal, chains of causes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error of whatever an engine stands on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error as a journal keeps it: its kind, and its words with those of its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// The kind of error: [`EngineErrorKind`] on the wire, or the platform's own words (`poison`, `storage`).
    pub kind: String,
    /// The error and its causes, joined by `: `.
    pub message: String,
    /// Whether the program had started.
    pub started: bool,
}

impl ErrorReport {
    /// A report in the platform's own words.
    #[must_use]
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), started: false }
    }
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error and its causes in one line, joined by `: `.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
