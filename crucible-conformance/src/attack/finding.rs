//! The finding on one attack.

use std::fmt;

use serde::Serialize;

/// The status of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttackStatus {
    /// It did no harm and got the right verdict. Its control did harm or has a reason not to.
    Blocked,
    /// It did harm or got a wrong verdict.
    Escaped,
    /// Neither the attack nor its control did harm, so that the result proves nothing.
    ControlFailed,
    /// It did not run to its end, or the engine failed.
    Inconclusive,
    /// The host has waived every layer that stops it.
    NotCovered,
    /// It cannot harm an engine of this kind, for a reason that the attack gives.
    DoesNotApply,
}

impl AttackStatus {
    /// Returns the name of the status in the wire form.
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

impl AttackStatus {
    /// Returns `true` if a suite with this status can be green.
    pub(super) fn is_acceptable(self) -> bool {
        matches!(self, Self::Blocked | Self::NotCovered | Self::DoesNotApply)
    }
}

impl fmt::Display for AttackStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The result of a control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlResult {
    /// The same program did harm without the layers.
    Harm {
        /// The missing layers, or that there was no engine.
        without: String,
        /// The harm.
        harm: String,
    },
    /// The control cannot run or show harm on this host.
    NotShown {
        /// The reason.
        reason: String,
    },
    /// The same program did no harm without the layers either.
    Failed {
        /// The observation.
        seen: String,
    },
}

/// The finding on one attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AttackFinding {
    /// The name of the attack.
    pub name: &'static str,
    /// The family of the attack.
    pub family: &'static str,
    /// The number in the catalogue.
    pub catalogue: &'static str,
    /// The status.
    pub status: AttackStatus,
    /// The observation, if the attack was not blocked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The verdict, if the engine returned an outcome.
    pub verdict: Option<String>,
    /// The result of the control.
    pub control: ControlResult,
}

impl fmt::Display for AttackFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            AttackStatus::Blocked => "BLOCKED",
            AttackStatus::Escaped => "ESCAPED",
            AttackStatus::ControlFailed => "CONTROL-FAILED",
            AttackStatus::Inconclusive => "INCONCLUSIVE",
            AttackStatus::NotCovered => "NOT-COVERED",
            AttackStatus::DoesNotApply => "DOES-NOT-APPLY",
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
