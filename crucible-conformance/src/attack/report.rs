//! The findings on all attacks.

use std::fmt;

use super::finding::{AttackFinding, AttackStatus};

/// The findings on all attacks, in the order of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttackReport {
    /// One finding for each attack.
    pub findings: Vec<AttackFinding>,
}

impl AttackReport {
    /// Returns the number of attacks with this status.
    #[must_use]
    pub fn count(&self, status: AttackStatus) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }

    /// Returns `true` if every attack was blocked, except for attacks that do not apply to the
    /// engine and attacks whose layers the host has waived.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.findings.iter().all(|finding| finding.status.is_acceptable())
            && self.count(AttackStatus::Blocked) > 0
    }

    /// Returns the counts as one JSON object.
    #[must_use]
    pub fn summary(&self) -> serde_json::Value {
        serde_json::json!({
            "blocked": self.count(AttackStatus::Blocked),
            "escaped": self.count(AttackStatus::Escaped),
            "control_failed": self.count(AttackStatus::ControlFailed),
            "inconclusive": self.count(AttackStatus::Inconclusive),
            "not_covered": self.count(AttackStatus::NotCovered),
            "does_not_apply": self.count(AttackStatus::DoesNotApply),
        })
    }
}

/// Formats the counts in one line.
impl fmt::Display for AttackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blocked, {} escaped, {} control-failed",
            self.count(AttackStatus::Blocked),
            self.count(AttackStatus::Escaped),
            self.count(AttackStatus::ControlFailed)
        )?;
        for (status, name) in [
            (AttackStatus::Inconclusive, "inconclusive"),
            (AttackStatus::NotCovered, "not covered"),
            (AttackStatus::DoesNotApply, "do not apply"),
        ] {
            match self.count(status) {
                0 => {}
                count => write!(f, ", {count} {name}")?,
            }
        }
        Ok(())
    }
}
