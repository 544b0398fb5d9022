//! Verdicts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Limit, Signal};

/// The ending of a program as wait(2) reports it, without interpretation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ending {
    /// The program exited with this code, 0 to 255.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// This signal ended the program.
    Signaled {
        /// The signal.
        signal: Signal,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited {code}"),
            Self::Signaled { signal } => write!(f, "signaled {signal}"),
        }
    }
}

/// The reason why the kernel refused to execute a program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotStartedReason {
    /// The file or its interpreter does not exist in the sandbox (`ENOENT`, `ENOTDIR`).
    NoSuchProgram,
    /// The file is not executable (`EACCES`, `EPERM`).
    PermissionDenied,
    /// The file is not a program for this machine (`ENOEXEC`, `EINVAL`, `ELIBBAD`).
    BadFormat,
    /// The working directory does not exist or is not a directory.
    NoSuchDirectory,
    /// Another error of execve(2).
    Refused,
}

impl fmt::Display for NotStartedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchProgram => "no such program",
            Self::PermissionDenied => "permission denied",
            Self::BadFormat => "not an executable format",
            Self::NoSuchDirectory => "no such directory",
            Self::Refused => "the kernel refused it",
        })
    }
}

/// The result of a program, in one value.
///
/// Only [`judge`](crate::judge()) computes a verdict, from [`Evidence`](crate::Evidence), and never
/// from the value of an exit code or from text. `exit 124`, `exit 137` and a printed 'Killed' are
/// `Exited`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The program ran to its end and exited with this code.
    Exited {
        /// The exit code, 0 to 255.
        code: i32,
    },
    /// A signal that the engine did not send ended the program.
    Signaled {
        /// The signal.
        signal: Signal,
    },
    /// The program exceeded a limit.
    LimitExceeded {
        /// The limit.
        limit: Limit,
    },
    /// The program violated the policy.
    PolicyViolation {
        /// The forbidden action.
        what: String,
    },
    /// The compile step did not produce a program.
    CompileFailed {
        /// The verdict of the compiler.
        cause: Box<Verdict>,
    },
    /// The kernel refused to execute the program.
    NotStarted {
        /// The reason.
        reason: NotStartedReason,
    },
    /// The run was cancelled before the program ended.
    Cancelled,
    /// The program ended, and the evidence is not sufficient.
    Inconclusive {
        /// The missing fact.
        reason: String,
    },
}

/// The party that a verdict blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Blame {
    /// The program, because of its ending.
    Program,
    /// The program, because of its resource usage.
    Limit,
    /// The program, because of a forbidden action.
    Policy,
    /// The caller that submitted the evaluation.
    Caller,
    /// The host that ran the program.
    Host,
    /// No party.
    Nobody,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program => "program",
            Self::Limit => "limit",
            Self::Policy => "policy",
            Self::Caller => "caller",
            Self::Host => "host",
            Self::Nobody => "nobody",
        })
    }
}

impl Verdict {
    /// Returns the party that the verdict blames.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Exited { .. } | Self::Signaled { .. } | Self::CompileFailed { .. } => {
                Blame::Program
            }
            Self::LimitExceeded { .. } => Blame::Limit,
            Self::PolicyViolation { .. } => Blame::Policy,
            Self::NotStarted { .. } => Blame::Caller,
            Self::Cancelled => Blame::Nobody,
            Self::Inconclusive { .. } => Blame::Host,
        }
    }

    /// Returns `true` if the program exited with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// Returns the wire name of the kind: `exited`, `signaled` and so on.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "exited",
            Self::Signaled { .. } => "signaled",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::PolicyViolation { .. } => "policy_violation",
            Self::CompileFailed { .. } => "compile_failed",
            Self::NotStarted { .. } => "not_started",
            Self::Cancelled => "cancelled",
            Self::Inconclusive { .. } => "inconclusive",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited {code}"),
            Self::Signaled { signal } => write!(f, "signaled {signal}"),
            Self::LimitExceeded { limit } => write!(f, "limit_exceeded {limit}"),
            Self::PolicyViolation { what } => write!(f, "policy_violation: {what}"),
            Self::CompileFailed { cause } => write!(f, "compile_failed: the compiler {cause}"),
            Self::NotStarted { reason } => write!(f, "not_started: {reason}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Inconclusive { reason } => write!(f, "inconclusive: {reason}"),
        }
    }
}

impl From<Ending> for Verdict {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Exited { code } => Self::Exited { code },
            Ending::Signaled { signal } => Self::Signaled { signal },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_has_documented_wire_form() {
        for (verdict, json) in [
            (Verdict::Exited { code: 0 }, r#"{"kind":"exited","code":0}"#),
            (
                Verdict::Signaled { signal: Signal::SEGV },
                r#"{"kind":"signaled","signal":"SIGSEGV"}"#,
            ),
            (
                Verdict::LimitExceeded { limit: Limit::Memory },
                r#"{"kind":"limit_exceeded","limit":"memory"}"#,
            ),
            (Verdict::Cancelled, r#"{"kind":"cancelled"}"#),
            (
                Verdict::NotStarted { reason: NotStartedReason::NoSuchProgram },
                r#"{"kind":"not_started","reason":"no_such_program"}"#,
            ),
            (
                Verdict::CompileFailed { cause: Box::new(Verdict::Exited { code: 1 }) },
                r#"{"kind":"compile_failed","cause":{"kind":"exited","code":1}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&verdict).unwrap(), json);
            assert_eq!(serde_json::from_str::<Verdict>(json).unwrap(), verdict);
            assert!(json.contains(verdict.kind()));
        }
    }

    #[test]
    fn blame_follows_from_the_verdict() {
        assert_eq!(Verdict::Exited { code: 0 }.blame(), Blame::Program);
        assert_eq!(Verdict::LimitExceeded { limit: Limit::Wall }.blame(), Blame::Limit);
        assert_eq!(Verdict::Inconclusive { reason: "x".into() }.blame(), Blame::Host);
        assert_eq!(
            Verdict::NotStarted { reason: NotStartedReason::BadFormat }.blame(),
            Blame::Caller
        );
    }
}
