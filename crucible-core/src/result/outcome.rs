//! Outcomes.

use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, Skipped};
use super::captured::Captured;
use super::enforcement::Enforcement;
use super::evidence::Evidence;
use super::judge::{ending, judge};
use super::usage::Usage;
use super::verdict::{Blame, Ending, Verdict};

/// The version of the wire form that this build writes, and the newest that it reads.
pub const WIRE_VERSION: u32 = 1;

/// The result of an evaluation: the verdict, its evidence, the output, the usage and the
/// enforcement.
///
/// The verdict, the ending and the blame are computed from the evidence, both at creation and at
/// deserialization. So the verdict of an outcome always follows from its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "OutcomeWire", try_from = "OutcomeWire")]
#[non_exhaustive]
pub struct Outcome {
    /// The name of the engine.
    pub engine: String,
    /// The program's standard output; the compiler's if the verdict is `CompileFailed`.
    pub stdout: Captured,
    /// The program's standard error; the compiler's if the verdict is `CompileFailed`.
    pub stderr: Captured,
    /// The resources that the run used.
    pub usage: Usage,
    /// The layers that isolated the run.
    pub enforcement: Enforcement,
    /// The collected files.
    pub artifacts: Vec<Artifact>,
    /// The matching files that were not collected.
    pub skipped: Vec<Skipped>,
    /// INVARIANT: `verdict` is `judge(&evidence)`.
    evidence: Vec<Evidence>,
    verdict: Verdict,
}

impl Outcome {
    /// Creates an outcome from evidence, without output, usage, enforcement or artifacts.
    #[must_use]
    pub fn new(engine: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self {
            engine: engine.into(),
            stdout: Captured::empty(),
            stderr: Captured::empty(),
            usage: Usage::default(),
            enforcement: Enforcement::new(),
            artifacts: Vec::new(),
            skipped: Vec::new(),
            verdict: judge(&evidence),
            evidence,
        }
    }

    /// Sets the captured output.
    #[must_use]
    pub fn with_output(mut self, stdout: Captured, stderr: Captured) -> Self {
        self.stdout = stdout;
        self.stderr = stderr;
        self
    }

    /// Sets the usage.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Sets the layers that isolated the run.
    #[must_use]
    pub fn with_enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    /// Sets the collected and the skipped files.
    #[must_use]
    pub fn with_artifacts(mut self, artifacts: Vec<Artifact>, skipped: Vec<Skipped>) -> Self {
        self.artifacts = artifacts;
        self.skipped = skipped;
        self
    }

    /// Returns the verdict.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Returns the program's own ending, if it was observed. It is also present if the verdict is a
    /// limit.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        ending(&self.evidence)
    }

    /// Returns the party that the verdict blames.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.verdict.blame()
    }

    /// Returns the facts that the verdict follows from.
    #[must_use]
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Returns `true` if the program exited with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.verdict.is_success()
    }
}

/// The wire form of [`Outcome`].
#[derive(Serialize, Deserialize)]
struct OutcomeWire {
    version: u32,
    verdict: Verdict,
    ending: Option<Ending>,
    blame: Blame,
    engine: String,
    stdout: Captured,
    stderr: Captured,
    usage: Usage,
    evidence: Vec<Evidence>,
    enforcement: Enforcement,
    artifacts: Vec<Artifact>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<Skipped>,
}

impl From<Outcome> for OutcomeWire {
    fn from(outcome: Outcome) -> Self {
        Self {
            version: WIRE_VERSION,
            ending: outcome.ending(),
            blame: outcome.blame(),
            verdict: outcome.verdict,
            engine: outcome.engine,
            stdout: outcome.stdout,
            stderr: outcome.stderr,
            usage: outcome.usage,
            evidence: outcome.evidence,
            enforcement: outcome.enforcement,
            artifacts: outcome.artifacts,
            skipped: outcome.skipped,
        }
    }
}

/// An error for an invalid [`OutcomeWire`].
#[derive(Debug, thiserror::Error)]
enum OutcomeWireError {
    #[error("the outcome has version {found}; this build reads up to version {WIRE_VERSION}")]
    Version { found: u32 },
    #[error("the outcome has the verdict `{stated}`; its evidence implies `{implied}`")]
    Verdict { stated: Verdict, implied: Verdict },
}

impl TryFrom<OutcomeWire> for Outcome {
    type Error = OutcomeWireError;

    fn try_from(wire: OutcomeWire) -> Result<Self, OutcomeWireError> {
        if wire.version > WIRE_VERSION {
            return Err(OutcomeWireError::Version { found: wire.version });
        }
        let implied = judge(&wire.evidence);
        if implied != wire.verdict {
            return Err(OutcomeWireError::Verdict { stated: wire.verdict, implied });
        }
        Ok(Self::new(wire.engine, wire.evidence)
            .with_output(wire.stdout, wire.stderr)
            .with_usage(wire.usage)
            .with_enforcement(wire.enforcement)
            .with_artifacts(wire.artifacts, wire.skipped))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Layer, Signal};
    use crate::result::enforcement::LayerStatus;

    fn outcome() -> Outcome {
        let waited = Evidence::Waited {
            ending: Ending::Exited { code: 0 },
            after: Duration::from_micros(1500),
        };
        Outcome::new("subprocess", vec![waited])
            .with_output(Captured::complete(Bytes::from_static(b"42\n")), Captured::empty())
            .with_enforcement(Enforcement::new().with(Layer::Seccomp, LayerStatus::Enforced, ""))
    }

    #[test]
    fn outcome_has_documented_wire_form() {
        let json = serde_json::to_string(&outcome()).unwrap();
        let start = r#"{"version":1,"verdict":{"kind":"exited","code":0},"ending":{"kind":"exited","code":0},"blame":"program","engine":"subprocess","stdout":{"text":"42\n","total_bytes":3,"truncated":false,"sha256":""#;
        assert!(json.starts_with(start), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for field in [
            "wall_us",
            "cpu_user_us",
            "cpu_system_us",
            "memory_peak_bytes",
            "processes_peak",
            "queue_us",
            "setup_us",
        ] {
            assert!(value["usage"].get(field).is_some(), "{field}");
        }
        assert_eq!(
            value["enforcement"][0],
            serde_json::json!({"layer": "seccomp", "status": "enforced"})
        );
        assert_eq!(value["artifacts"], serde_json::json!([]));
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome());
    }

    #[test]
    fn forged_verdict_and_newer_version_are_refused() {
        let json = serde_json::to_string(&outcome()).unwrap();
        let forged =
            json.replacen(r#"{"kind":"exited","code":0}"#, r#"{"kind":"exited","code":1}"#, 1);
        let error = serde_json::from_str::<Outcome>(&forged).unwrap_err().to_string();
        assert!(error.contains("`exited 1`; its evidence implies `exited 0`"), "{error}");
        let newer = json.replacen(r#""version":1"#, r#""version":2"#, 1);
        assert!(
            serde_json::from_str::<Outcome>(&newer).unwrap_err().to_string().contains("version 2")
        );
    }

    #[test]
    fn limit_verdict_keeps_the_ending() {
        let evidence = vec![
            Evidence::Waited {
                ending: Ending::Signaled { signal: Signal::KILL },
                after: Duration::ZERO,
            },
            Evidence::OomKilled { count: 1, limit_hits: 1, peak_bytes: None, limit_bytes: 1 },
        ];
        let outcome = Outcome::new("x", evidence);
        assert_eq!(outcome.verdict().kind(), "limit_exceeded");
        assert_eq!(outcome.ending(), Some(Ending::Signaled { signal: Signal::KILL }));
    }
}
