//! Errors of engines: infrastructure failures, never program failures.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::file_reason::FileReason;
use crate::model::{BoxError, ErrorReport, InvalidInput, Layer, error_chain};

/// The kinds of [`EngineError`], for matching and for the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// The caller's input is wrong.
    Invalid,
    /// A layer is unavailable on this host.
    LayerUnavailable,
    /// This engine does not support the request.
    Unsupported,
    /// A dependency of the engine is unavailable.
    Unavailable,
    /// A step of creating a sandbox failed.
    Setup,
    /// The sandbox was lost.
    Lost,
    /// The guest violated the protocol.
    Protocol,
    /// A file operation in the sandbox failed.
    File,
    /// This host does not have a secret's value.
    SecretLost,
    /// The engine or the sandbox is closed.
    Closed,
}

/// A mechanism that the host cannot provide, with the reason and a fix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnavailableMechanism {
    /// The layer.
    pub layer: Layer,
    /// The reason.
    pub reason: String,
    /// The fix, in the imperative.
    pub fix: String,
}

impl UnavailableMechanism {
    /// Creates an unavailable mechanism.
    #[must_use]
    pub fn new(layer: Layer, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { layer, reason: reason.into(), fix: fix.into() }
    }
}

impl fmt::Display for UnavailableMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, reason, fix } = self;
        write!(f, "cannot enforce `{layer}`: {reason}\nfix: {fix}")
    }
}

/// Returns one line for each mechanism and one for its fix.
fn to_lines(missing: &[UnavailableMechanism]) -> String {
    let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// An infrastructure failure: the run has no verdict. A crash of the program is never an
/// `EngineError`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The caller's input is wrong.
    #[error("the evaluation is not valid")]
    Invalid(#[from] InvalidInput),
    /// Layers are unavailable on this host, and the host did not waive them.
    #[error("{}", to_lines(.missing))]
    LayerUnavailable {
        /// The layers, at least one.
        missing: Vec<UnavailableMechanism>,
    },
    /// This engine does not support the request.
    #[error("engine `{engine}` does not support {what}")]
    Unsupported {
        /// The engine.
        engine: String,
        /// The unsupported request.
        what: String,
    },
    /// A dependency of the engine is unavailable. It may become available again.
    #[error("{what} is not available")]
    Unavailable {
        /// The dependency.
        what: String,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
    /// A step of creating a sandbox, or of starting the program in it, failed.
    #[error("cannot {step}")]
    Setup {
        /// The step, in the infinitive: `mount /proc`.
        step: String,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
    /// The sandbox was lost: it ended, and the engine did not end it.
    #[error("the sandbox was lost while {doing}")]
    Lost {
        /// The engine's activity at the time.
        doing: String,
        /// Whether the program had started.
        started: bool,
        /// The cause, if known.
        #[source]
        source: Option<BoxError>,
    },
    /// The guest violated the protocol.
    #[error("the guest violated the protocol: {what}")]
    Protocol {
        /// The violation.
        what: String,
        /// Whether the program had started.
        started: bool,
    },
    /// A file operation in the sandbox failed.
    #[error("cannot use file {path:?} of the sandbox: {reason}")]
    File {
        /// The path of the file.
        path: String,
        /// The reason.
        reason: FileReason,
    },
    /// This host does not have the value of a secret. Secrets are not stored, so they do not
    /// survive a restart.
    #[error(
        "this host does not have the value of the secret `{name}`\nfix: submit the evaluation again"
    )]
    SecretLost {
        /// The environment variable.
        name: String,
    },
    /// The engine or the sandbox is closed.
    #[error("{what} is closed")]
    Closed {
        /// The closed object.
        what: String,
    },
}

impl EngineError {
    /// Creates the error of a failed step.
    pub fn setup(step: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Setup { step: step.into(), source: Some(source.into()) }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> EngineErrorKind {
        match self {
            Self::Invalid(_) => EngineErrorKind::Invalid,
            Self::LayerUnavailable { .. } => EngineErrorKind::LayerUnavailable,
            Self::Unsupported { .. } => EngineErrorKind::Unsupported,
            Self::Unavailable { .. } => EngineErrorKind::Unavailable,
            Self::Setup { .. } => EngineErrorKind::Setup,
            Self::Lost { .. } => EngineErrorKind::Lost,
            Self::Protocol { .. } => EngineErrorKind::Protocol,
            Self::File { .. } => EngineErrorKind::File,
            Self::SecretLost { .. } => EngineErrorKind::SecretLost,
            Self::Closed { .. } => EngineErrorKind::Closed,
        }
    }

    /// Returns `true` if another attempt at the same evaluation may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            EngineErrorKind::Unavailable
                | EngineErrorKind::Setup
                | EngineErrorKind::Lost
                | EngineErrorKind::Protocol
        )
    }

    /// Returns `true` if the program had started, so that another attempt runs it twice.
    #[must_use]
    pub fn target_started(&self) -> bool {
        match self {
            Self::Lost { started, .. } | Self::Protocol { started, .. } => *started,
            _ => false,
        }
    }
}

impl From<&EngineError> for ErrorReport {
    fn from(error: &EngineError) -> Self {
        let kind = serde_json::to_value(error.kind())
            .ok()
            .and_then(|kind| kind.as_str().map(str::to_owned));
        Self {
            kind: kind.unwrap_or_default(),
            message: error_chain(error),
            started: error.target_started(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_reports_retryable_and_started() {
        let lost = EngineError::Lost { doing: "running".into(), started: true, source: None };
        assert!(lost.is_retryable() && lost.target_started());
        let setup = EngineError::setup("mount `/proc`", std::io::Error::from_raw_os_error(1));
        assert!(setup.is_retryable() && !setup.target_started());
        let invalid = EngineError::from(InvalidInput::single("limits.wall_us", "is 0"));
        assert!(!invalid.is_retryable());
    }

    #[test]
    fn error_report_keeps_the_causes() {
        let error = EngineError::from(InvalidInput::single("limits.wall_us", "is 0"));
        let report = ErrorReport::from(&error);
        assert_eq!(report.kind, "invalid");
        assert_eq!(report.message, "the evaluation is not valid: `limits.wall_us` is 0");
    }
}
