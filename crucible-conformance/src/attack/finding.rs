//! What was found out about one attack.

use std::fmt;

use serde::Serialize;

/// Whether an attack was blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It did no harm and got its true verdict, and its control did harm or says why it cannot.
    Blocked,
    /// It did harm, or got a wrong verdict.
    Escaped,
    /// It did no harm, and neither did its control: nothing is proved.
    ControlFailed,
    /// Nobody can tell: it did not run to its end, or the engine failed.
    Inconclusive,
    /// The host has waived every layer that stops it.
    NotCovered,
    /// It can do no harm to an engine of this kind, for a reason that the attack names.
    DoesNotApply,
}

impl Status {
    /// The name of the status, as the wire form has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Escaped => "escaped",
            Self::ControlFailed => "control_failed",
            Self::Inconclusive => "inconclusive",
            Self::NotCovered => "not_covered",
            Self::DoesNotApply => "does_not_apply",
        }
    }
}

impl Status {
    pub(super) fn is_no_failure(self) -> bool {
        matches!(self, Self::Blocked | Self::NotCovered | Self::DoesNotApply)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the control showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlResult {
    /// The same program did harm.
    Harm {
        /// Where: an engine without these layers, or no engine.
        without: String,
        /// The harm.
        harm: String,
    },
    /// It cannot be shown here.
    NotShown {
        /// Why.
        reason: String,
    },
    /// It did no harm there either.
    Failed {
        /// What was seen.
        seen: String,
    },
}

/// What was found out about one attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The attack.
    pub name: &'static str,
    /// The subject that it belongs to.
    pub family: &'static str,
    /// Its number in the catalogue.
    pub catalogue: &'static str,
    /// Whether it was blocked.
    pub status: Status,
    /// What was seen, where it was not blocked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The verdict that the engine gave, if it gave one.
    pub verdict: Option<String>,
    /// What the control showed.
    pub control: ControlResult,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Blocked => "BLOCKED",
            Status::Escaped => "ESCAPED",
            Status::ControlFailed => "CONTROL-FAILED",
            Status::Inconclusive => "INCONCLUSIVE",
            Status::NotCovered => "NOT-COVERED",
            Status::DoesNotApply => "DOES-NOT-APPLY",
        };
        write!(f, "{status:<14} {:<4} {:<26}", self.catalogue, self.name)?;
        let verdict = self.verdict.as_deref().unwrap_or("no verdict");
        write!(f, " {verdict:<24} ")?;
        match &self.control {
            ControlResult::Harm { without, harm } => write!(f, "{without}: {harm}")?,
            ControlResult::NotShown { reason } => write!(f, "not shown: {reason}")?,
            ControlResult::Failed { seen } => write!(f, "CONTROL: {seen}")?,
        }
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}
