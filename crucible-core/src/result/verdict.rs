//! What became of a program, in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Limit, Signal};

/// How a program ended by itself: what wait(2) says, without an opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ending {
    /// It exited with this code, 0 to 255.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// This signal ended it.
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

/// Why a program could not be started: the kernel refused to execute it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotStartedReason {
    /// There is no such file in the sandbox (`ENOENT`, `ENOTDIR`), or its interpreter is missing.
    NoSuchProgram,
    /// The file may not be executed (`EACCES`, `EPERM`).
    PermissionDenied,
    /// The file is not a program for this machine (`ENOEXEC`, `EINVAL`, `ELIBBAD`).
    BadFormat,
    /// The working directory is not there or is not a directory.
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

/// What became of a program.
///
/// A verdict is computed in one place, [`judge`](crate::judge()), from [`Evidence`](crate::Evidence); never from an exit
/// code's value or from text. `exit 124`, `exit 137` and a printed 'Killed' are `Exited`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// It ran to its end and exited with this code.
    Exited {
        /// The exit code, 0 to 255.
        code: i32,
    },
    /// A signal that we did not send ended it.
    Signaled {
        /// The signal.
        signal: Signal,
    },
    /// It crossed a limit, whatever it did afterwards.
    LimitExceeded {
        /// The limit.
        limit: Limit,
    },
    /// It did what the policy forbids.
    PolicyViolation {
        /// What it did.
        what: String,
    },
    /// The compile step did not produce a program.
    CompileFailed {
        /// What became of the compiler.
        cause: Box<Verdict>,
    },
    /// The kernel would not execute it.
    NotStarted {
        /// Why.
        reason: NotStartedReason,
    },
    /// It was cancelled before it ended.
    Cancelled,
    /// It ended, and we cannot tell how.
    Inconclusive {
        /// What is missing.
        reason: String,
    },
}

/// Who a verdict speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Blame {
    /// The program, by its own ending.
    Program,
    /// The program, by what it used.
    Limit,
    /// The program, by what it tried.
    Policy,
    /// Whoever asked for the evaluation.
    Caller,
    /// The machine it ran on.
    Host,
    /// Nobody.
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
    /// Who the verdict speaks about.
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

    /// Whether the program exited with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// The wire name of the kind of verdict: `exited`, `signaled` and so on.
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
    fn the_wire_form_is_the_documented_one() {
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
    fn blame_follows_the_verdict() {
        assert_eq!(Verdict::Exited { code: 0 }.blame(), Blame::Program);
        assert_eq!(Verdict::LimitExceeded { limit: Limit::Wall }.blame(), Blame::Limit);
        assert_eq!(Verdict::Inconclusive { reason: "x".into() }.blame(), Blame::Host);
        assert_eq!(
            Verdict::NotStarted { reason: NotStartedReason::BadFormat }.blame(),
            Blame::Caller
        );
    }
}
