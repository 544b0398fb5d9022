//! The observation of one run of an attack, and its assessment.

use crucible_core::{Outcome, Verdict};

use super::definition::{Attack, ExpectedEnding};

/// Errors that prove nothing: the attacked object is missing, or the fixture ran out of a resource.
const INCONCLUSIVE_ERRORS: &[i32] = &[2, 20, 12, 23, 24, 4];

/// The suite's observations of one run.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// The report of the program.
    pub(super) report: Vec<ReportLine>,
    /// The harm that the host found.
    pub(super) external_harm: Vec<String>,
    /// The outcome, if an engine ran the program.
    pub(super) outcome: Option<Outcome>,
    /// The error, if the run failed.
    pub(super) failed: Option<String>,
}

/// A line of a program's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReportLine {
    Begin,
    Tried { what: String, errno: i32 },
    Harm(String),
    Found(String),
    Broken(String),
    End,
}

/// The assessment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Assessment {
    /// The program did no harm.
    NoHarm,
    /// The program did this harm.
    Harm(String),
    /// The program ran, and its errors prove nothing: the attacked object is missing, or the
    /// fixture ran out of a resource.
    NoProof(String),
    /// The run shows nothing, for this reason.
    Inconclusive(String),
}

/// Returns the report lines that begin with the mark.
pub(super) fn parse_report(output: &str, mark: &str) -> Vec<ReportLine> {
    output.lines().filter_map(|line| parse(line.strip_prefix(mark)?.strip_prefix(' ')?)).collect()
}

fn parse(line: &str) -> Option<ReportLine> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "begin" => Some(ReportLine::Begin),
        "end" => Some(ReportLine::End),
        "harm" => Some(ReportLine::Harm(rest.to_owned())),
        "found" => Some(ReportLine::Found(rest.to_owned())),
        "broken" => Some(ReportLine::Broken(rest.to_owned())),
        "tried" => {
            let (what, errno) = rest.rsplit_once(' ')?;
            Some(ReportLine::Tried { what: what.to_owned(), errno: errno.parse().ok()? })
        }
        _ => None,
    }
}

impl Observation {
    /// Creates the observation of a run that failed.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { failed: Some(why.into()), ..Self::default() }
    }

    /// Assesses whether the program did harm, whatever the verdict.
    pub(super) fn assess_harm(&self, attack: &Attack) -> Assessment {
        if let Some(harm) = self.external_harm.first() {
            return Assessment::Harm(harm.clone());
        }
        if let Some(why) = &self.failed {
            return Assessment::Inconclusive(why.clone());
        }
        if !self.report.contains(&ReportLine::Begin) {
            return Assessment::Inconclusive("the program did not begin".to_owned());
        }
        let mut no_proof = None;
        for line in &self.report {
            match line {
                ReportLine::Harm(what) => return Assessment::Harm(what.clone()),
                ReportLine::Broken(what) => {
                    return Assessment::Inconclusive(format!(
                        "the program cannot continue: {what}"
                    ));
                }
                ReportLine::Tried { what, errno: 0 } => {
                    return Assessment::Harm(format!("{what} succeeded"));
                }
                ReportLine::Tried { what, errno } => match &attack.expected_ending {
                    ExpectedEnding::Refused(errors) if errors.contains(errno) => {}
                    ExpectedEnding::Refused(_) if INCONCLUSIVE_ERRORS.contains(errno) => {
                        no_proof.get_or_insert(format!("{what}: error {errno} proves nothing"));
                    }
                    ExpectedEnding::Refused(_) => {
                        return Assessment::Harm(format!("{what} went as far as error {errno}"));
                    }
                    _ => {}
                },
                ReportLine::Begin | ReportLine::Found(_) | ReportLine::End => {}
            }
        }
        no_proof.map_or(Assessment::NoHarm, Assessment::NoProof)
    }

    /// Assesses whether the attack was blocked: no harm, every attempt made, the right verdict.
    pub(super) fn assess(&self, attack: &Attack) -> Assessment {
        match self.assess_harm(attack) {
            Assessment::NoHarm => {}
            other => return other,
        }
        let Some(outcome) = &self.outcome else {
            return Assessment::Inconclusive("there is no outcome".to_owned());
        };
        let verdict = outcome.verdict();
        // An engine that reports a refusal gives a policy violation instead of `exited 0`.
        let normal_exit =
            matches!(verdict, Verdict::Exited { code: 0 } | Verdict::PolicyViolation { .. });
        let ended = self.report.contains(&ReportLine::End);
        let (right, complete) = match &attack.expected_ending {
            ExpectedEnding::Refused(_) => {
                let is_attempt = |line: &ReportLine| matches!(line, ReportLine::Tried { .. });
                (normal_exit, ended && self.report.iter().any(is_attempt))
            }
            ExpectedEnding::NormalExit => (normal_exit, ended),
            ExpectedEnding::Limit(limit) => {
                (*verdict == Verdict::LimitExceeded { limit: *limit }, true)
            }
            ExpectedEnding::Exit(code) => (*verdict == Verdict::Exited { code: *code }, true),
            ExpectedEnding::Signal(signal) => {
                (*verdict == Verdict::Signaled { signal: *signal }, true)
            }
        };
        if !right {
            return Assessment::Harm(format!("the verdict is wrong: {verdict}"));
        }
        if !complete {
            return Assessment::Inconclusive("the program did not run to its end".to_owned());
        }
        Assessment::NoHarm
    }
}

#[cfg(test)]
mod tests {
    use crucible_core::{Ending, Evidence, Limit};

    use super::*;

    fn observation(report: &str, code: i32) -> Observation {
        let waited =
            Evidence::Waited { ending: Ending::Exited { code }, after: std::time::Duration::ZERO };
        Observation {
            report: parse_report(report, "m1"),
            outcome: Some(Outcome::new("x", vec![waited])),
            ..Observation::default()
        }
    }

    fn attack() -> Attack {
        Attack::new("F1", "", "")
    }

    #[test]
    fn reported_refusal_is_no_harm() {
        let seen = observation("m1 begin\nm1 tried mount 1\nnoise\nm2 harm forged\nm1 end\n", 0);
        assert_eq!(seen.assess(&attack()), Assessment::NoHarm);
    }

    #[test]
    fn incomplete_run_is_not_blocked() {
        for report in ["", "m1 begin\nm1 end\n", "m1 begin\nm1 tried mount 1\n"] {
            let assessment = observation(report, 0).assess(&attack());
            assert!(matches!(assessment, Assessment::Inconclusive(_)), "{report}");
        }
        let missing = observation("m1 begin\nm1 tried open 2\nm1 end\n", 0);
        assert!(matches!(missing.assess(&attack()), Assessment::NoProof(_)));
        let exited = observation("", 127);
        assert!(matches!(exited.assess(&attack()), Assessment::Inconclusive(_)));
        let failed = Observation::failed("x");
        assert!(matches!(failed.assess(&attack()), Assessment::Inconclusive(_)));
        let harmed =
            Observation { external_harm: vec!["a canary".to_owned()], ..Observation::failed("x") };
        assert!(matches!(harmed.assess(&attack()), Assessment::Harm(_)));
    }

    #[test]
    fn accepted_call_is_harm() {
        for report in [
            "m1 begin\nm1 tried mount 0\nm1 end\n",
            "m1 begin\nm1 tried bpf 22\nm1 end\n",
            "m1 begin\nm1 harm x\n",
        ] {
            let assessment = observation(report, 0).assess_harm(&attack());
            assert!(matches!(assessment, Assessment::Harm(_)), "{report}");
        }
    }

    #[test]
    fn wrong_verdict_is_harm() {
        let seen = observation("m1 begin\nm1 tried start 11\nm1 end\n", 0);
        let bomb = attack().ends_at(Limit::Processes);
        assert_eq!(seen.assess_harm(&bomb), Assessment::NoHarm);
        assert!(matches!(seen.assess(&bomb), Assessment::Harm(_)));
    }
}
