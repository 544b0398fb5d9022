//! What can go wrong with an engine: the infrastructure's doing, never the program's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{BoxError, ErrorReport, InvalidInput, Layer, error_chain};

/// What about a file of a sandbox stood in the way. The guest makes the files, so none of this is the engine's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileReason {
    /// There is no such file, or a part of the path is not a directory.
    NotFound,
    /// It is not a regular file.
    NotRegular,
    /// It is not a directory.
    NotDirectory,
    /// A part of the path is a symbolic link, or leads out of the working directory.
    Link,
    /// It has more bytes than asked for.
    TooLarge,
    /// The disk or inode limit is reached.
    NoSpace,
    /// Something else is already there.
    Exists,
    /// Another error, by its number (errno(3)).
    Os(i32),
}

impl fmt::Display for FileReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("it is not there"),
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::NotDirectory => f.write_str("it is not a directory"),
            Self::Link => f.write_str("a link is in the way"),
            Self::TooLarge => f.write_str("it is too large"),
            Self::NoSpace => f.write_str("the sandbox's disk is full"),
            Self::Exists => f.write_str("something else is there"),
            Self::Os(errno) => write!(f, "error {errno}"),
        }
    }
}

/// The kinds of [`EngineError`], for matching and for the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// The caller's input is wrong.
    Invalid,
    /// A layer cannot be had on this host.
    LayerUnavailable,
    /// This engine cannot do what was asked for.
    Unsupported,
    /// Something that the engine stands on is away.
    Unavailable,
    /// A step of making a sandbox failed.
    Setup,
    /// The sandbox was lost.
    Lost,
    /// The guest side broke the protocol.
    Protocol,
    /// A file of the sandbox could not be read or written.
    File,
    /// A secret's value is not on this host.
    SecretLost,
    /// The engine or the sandbox is closed.
    Closed,
}

/// A layer that cannot be had, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnavailableMechanism {
    /// The layer.
    pub layer: Layer,
    /// Why it cannot be had.
    pub reason: String,
    /// What to do, in the imperative.
    pub fix: String,
}

impl UnavailableMechanism {
    /// A layer that cannot be had.
    #[must_use]
    pub fn new(layer: Layer, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { layer, reason: reason.into(), fix: fix.into() }
    }
}

fn describe(missing: &[UnavailableMechanism]) -> String {
    let mut text = String::from(if missing.len() == 1 {
        "a layer cannot be had"
    } else {
        "layers cannot be had"
    });
    for UnavailableMechanism { layer, reason, fix } in missing {
        text.push_str(&format!(": `{layer}`: {reason} (to mend it, {fix})"));
    }
    text
}

/// The infrastructure's doing: a run that came to no verdict. A program's crash is never one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The caller's input is wrong.
    #[error("the evaluation is not valid")]
    Invalid(#[from] InvalidInput),
    /// Layers cannot be had on this host, and were not waived.
    #[error("{}", describe(.missing))]
    LayerUnavailable {
        /// The layers, at least one.
        missing: Vec<UnavailableMechanism>,
    },
    /// This engine cannot do what was asked for.
    #[error("engine `{engine}` does not support {what}")]
    Unsupported {
        /// The engine.
        engine: String,
        /// What was asked for.
        what: String,
    },
    /// Something that the engine stands on is away; it may come back.
    #[error("{what} is not available")]
    Unavailable {
        /// What is away.
        what: String,
        /// Why.
        #[source]
        source: Option<BoxError>,
    },
    /// A step of making a sandbox, or of starting the program in it, failed.
    #[error("cannot {step}")]
    Setup {
        /// The step, in the infinitive: `mount /proc`.
        step: String,
        /// Why it failed.
        #[source]
        source: Option<BoxError>,
    },
    /// The sandbox was lost: it ended, and not at our hands.
    #[error("the sandbox was lost while {doing}")]
    Lost {
        /// What was going on.
        doing: String,
        /// Whether the program had started.
        started: bool,
        /// What is known of the loss.
        #[source]
        source: Option<BoxError>,
    },
    /// The guest side broke the protocol.
    #[error("the guest broke the protocol: {what}")]
    Protocol {
        /// What it did.
        what: String,
        /// Whether the program had started.
        started: bool,
    },
    /// A file of the sandbox could not be read or written.
    #[error("cannot use file {path:?} of the sandbox: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: FileReason,
    },
    /// The value of a secret is not on this host: it is not stored, so it does not survive a restart.
    #[error("the value of the secret `{name}` is not on this host; submit the evaluation again")]
    SecretLost {
        /// The variable.
        name: String,
    },
    /// The engine or the sandbox is closed.
    #[error("{what} is closed")]
    Closed {
        /// What is closed.
        what: String,
    },
}

impl EngineError {
    /// A failed step.
    pub fn setup(step: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Setup { step: step.into(), source: Some(source.into()) }
    }

    /// The kind of error.
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

    /// Whether the same evaluation may succeed if it is simply tried again.
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

    /// Whether the program had started. Then trying again runs it twice.
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
    fn only_what_may_pass_is_retryable_and_only_what_ran_had_started() {
        let lost = EngineError::Lost { doing: "running".into(), started: true, source: None };
        assert!(lost.is_retryable() && lost.target_started());
        let setup = EngineError::setup("mount `/proc`", std::io::Error::from_raw_os_error(1));
        assert!(setup.is_retryable() && !setup.target_started());
        let invalid = EngineError::from(InvalidInput::single("limits.wall_us", "is 0"));
        assert!(!invalid.is_retryable());
    }

    #[test]
    fn a_report_keeps_the_causes() {
        let error = EngineError::from(InvalidInput::single("limits.wall_us", "is 0"));
        let report = ErrorReport::from(&error);
        assert_eq!(report.kind, "invalid");
        assert_eq!(report.message, "the evaluation is not valid: `limits.wall_us` is 0");
    }
}
