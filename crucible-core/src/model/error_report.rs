//! Errors as text: reports for the journal, and chains of causes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error in a journal: its kind, and its message with the messages of its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// The kind: the wire name of an [`EngineErrorKind`](crate::EngineErrorKind), or a kind of the
    /// platform (`poison`, `storage`).
    pub kind: String,
    /// The messages of the error and its causes, joined by `: `.
    pub message: String,
    /// Whether the program had started.
    pub started: bool,
}

impl ErrorReport {
    /// Creates a report of an error before the program started.
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

/// Returns the messages of an error and its causes, joined by `: `.
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
