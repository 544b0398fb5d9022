//! What was found out about all attacks.

use std::fmt;

use super::finding::{Finding, Status};

/// What was found out about all attacks, in the order of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// A finding for each attack.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many attacks have this status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }

    /// Whether every attack was blocked, but for those whose layers the host has waived.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.findings.iter().all(|finding| finding.status.is_no_failure())
            && self.count(Status::Blocked) > 0
    }

    /// The counts as one JSON object.
    #[must_use]
    pub fn summary(&self) -> serde_json::Value {
        serde_json::json!({
            "blocked": self.count(Status::Blocked),
            "escaped": self.count(Status::Escaped),
            "control_failed": self.count(Status::ControlFailed),
            "inconclusive": self.count(Status::Inconclusive),
            "not_covered": self.count(Status::NotCovered),
            "does_not_apply": self.count(Status::DoesNotApply),
        })
    }
}

/// The counts in one line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blocked, {} escaped, {} control-failed",
            self.count(Status::Blocked),
            self.count(Status::Escaped),
            self.count(Status::ControlFailed)
        )?;
        for (status, name) in [
            (Status::Inconclusive, "inconclusive"),
            (Status::NotCovered, "not covered"),
            (Status::DoesNotApply, "do not apply"),
        ] {
            match self.count(status) {
                0 => {}
                count => write!(f, ", {count} {name}")?,
            }
        }
        Ok(())
    }
}
