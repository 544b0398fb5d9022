//! What came of an evaluation.

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

/// What came of an evaluation: the verdict, why we believe it, what was written, what was used, what isolated it.
///
/// The verdict, the ending and the blame are computed from the evidence when an outcome is made and again when one is
/// read: an outcome whose verdict does not follow from its evidence cannot exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
#[non_exhaustive]
pub struct Outcome {
    /// The name of the engine that ran it.
    pub engine: String,
    /// What the program wrote to its standard output; the compiler's, if the verdict is `CompileFailed`.
    pub stdout: Captured,
    /// What the program wrote to its standard error; the compiler's, if the verdict is `CompileFailed`.
    pub stderr: Captured,
    /// What the run used.
    pub usage: Usage,
    /// What isolated the run.
    pub enforcement: Enforcement,
    /// The files that were collected.
    pub artifacts: Vec<Artifact>,
    /// The files that matched and were not collected.
    pub skipped: Vec<Skipped>,
    /// INVARIANT: `verdict` is `judge(&evidence)`.
    evidence: Vec<Evidence>,
    verdict: Verdict,
}

impl Outcome {
    /// An outcome with this evidence, and nothing written, used, isolated or collected yet.
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

    /// Sets what was written.
    #[must_use]
    pub fn with_output(mut self, stdout: Captured, stderr: Captured) -> Self {
        self.stdout = stdout;
        self.stderr = stderr;
        self
    }

    /// Sets what was used.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Sets what isolated the run.
    #[must_use]
    pub fn with_enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    /// Sets what was collected, and what was not.
    #[must_use]
    pub fn with_artifacts(mut self, artifacts: Vec<Artifact>, skipped: Vec<Skipped>) -> Self {
        self.artifacts = artifacts;
        self.skipped = skipped;
        self
    }

    /// What became of the program.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// How the program ended by itself, where anyone saw it: also where a limit is the verdict.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        ending(&self.evidence)
    }

    /// Who the verdict speaks about.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.verdict.blame()
    }

    /// The facts that the verdict follows from.
    #[must_use]
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Whether the program exited with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.verdict.is_success()
    }
}

/// The wire form of [`Outcome`].
#[derive(Serialize, Deserialize)]
struct Wire {
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

impl From<Outcome> for Wire {
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

/// The wire form of an [`Outcome`] cannot be read.
#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error("the outcome has version {found}; this build reads up to version {WIRE_VERSION}")]
    Version { found: u32 },
    #[error("the outcome says `{said}` where its evidence says `{follows}`")]
    Verdict { said: Verdict, follows: Verdict },
}

impl TryFrom<Wire> for Outcome {
    type Error = WireError;

    fn try_from(wire: Wire) -> Result<Self, WireError> {
        if wire.version > WIRE_VERSION {
            return Err(WireError::Version { found: wire.version });
        }
        let follows = judge(&wire.evidence);
        if follows != wire.verdict {
            return Err(WireError::Verdict { said: wire.verdict, follows });
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
    fn the_wire_form_is_the_documented_one() {
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
    fn a_forged_verdict_and_a_newer_version_are_refused() {
        let json = serde_json::to_string(&outcome()).unwrap();
        let forged =
            json.replacen(r#"{"kind":"exited","code":0}"#, r#"{"kind":"exited","code":1}"#, 1);
        let error = serde_json::from_str::<Outcome>(&forged).unwrap_err().to_string();
        assert!(error.contains("`exited 1` where its evidence says `exited 0`"), "{error}");
        let newer = json.replacen(r#""version":1"#, r#""version":2"#, 1);
        assert!(
            serde_json::from_str::<Outcome>(&newer).unwrap_err().to_string().contains("version 2")
        );
    }

    #[test]
    fn the_ending_is_kept_beside_a_limit() {
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
