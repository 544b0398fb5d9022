//! What was seen of one run of an attack.

use crucible_core::{Outcome, Verdict};

use super::entry::{Attack, Expect};

/// Errors that say that something is not there, or that the scene ran out of something: they prove nothing.
const NO_PROOF: &[i32] = &[2, 20, 12, 23, 24, 4];

/// What was seen of one run.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// What the program said of itself.
    pub(super) said: Vec<Said>,
    /// The harm that was found from outside.
    pub(super) found_outside: Vec<String>,
    /// What came of it, where an engine ran it.
    pub(super) outcome: Option<Outcome>,
    /// Why there is nothing to see.
    pub(super) failed: Option<String>,
}

/// A line of a program's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Begin,
    Tried { what: String, errno: i32 },
    Harm(String),
    Found(String),
    Broken(String),
    End,
}

/// How a run is to be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing happened that must not.
    Held,
    /// This did.
    Harm(String),
    /// What is attacked is not there, or the scene ran out of something: the program ran, and its errors prove nothing.
    NoProof(String),
    /// Nobody can tell, for this reason.
    Unclear(String),
}

/// The lines of a report that have the mark.
pub(super) fn read_report(output: &str, mark: &str) -> Vec<Said> {
    output.lines().filter_map(|line| parse(line.strip_prefix(mark)?.strip_prefix(' ')?)).collect()
}

fn parse(line: &str) -> Option<Said> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "begin" => Some(Said::Begin),
        "end" => Some(Said::End),
        "harm" => Some(Said::Harm(rest.to_owned())),
        "found" => Some(Said::Found(rest.to_owned())),
        "broken" => Some(Said::Broken(rest.to_owned())),
        "tried" => {
            let (what, errno) = rest.rsplit_once(' ')?;
            Some(Said::Tried { what: what.to_owned(), errno: errno.parse().ok()? })
        }
        _ => None,
    }
}

impl Observation {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { failed: Some(why.into()), ..Self::default() }
    }

    /// Whether harm was done, whatever the verdict.
    pub(super) fn harm(&self, attack: &Attack) -> Reading {
        if let Some(harm) = self.found_outside.first() {
            return Reading::Harm(harm.clone());
        }
        if let Some(why) = &self.failed {
            return Reading::Unclear(why.clone());
        }
        if !self.said.contains(&Said::Begin) {
            return Reading::Unclear("the program did not begin".to_owned());
        }
        let mut no_proof = None;
        for said in &self.said {
            match said {
                Said::Harm(what) => return Reading::Harm(what.clone()),
                Said::Broken(what) => {
                    return Reading::Unclear(format!("the program could not go on: {what}"));
                }
                Said::Tried { what, errno: 0 } => return Reading::Harm(format!("{what} was done")),
                Said::Tried { what, errno } => match &attack.expect {
                    Expect::Refused(errors) if errors.contains(errno) => {}
                    Expect::Refused(_) if NO_PROOF.contains(errno) => {
                        no_proof.get_or_insert(format!("{what}: error {errno} proves nothing"));
                    }
                    Expect::Refused(_) => {
                        return Reading::Harm(format!("{what} went as far as error {errno}"));
                    }
                    _ => {}
                },
                Said::Begin | Said::Found(_) | Said::End => {}
            }
        }
        no_proof.map_or(Reading::Held, Reading::NoProof)
    }

    /// Whether no harm was done, everything was tried, and the verdict is the right one.
    pub(super) fn blocked(&self, attack: &Attack) -> Reading {
        match self.harm(attack) {
            Reading::Held => {}
            other => return other,
        }
        let Some(outcome) = &self.outcome else {
            return Reading::Unclear("there is no outcome".to_owned());
        };
        let verdict = outcome.verdict();
        // A refusal that the engine reports is a verdict of its own.
        let own_end =
            matches!(verdict, Verdict::Exited { code: 0 } | Verdict::PolicyViolation { .. });
        let (right, complete) = match &attack.expect {
            Expect::Refused(_) => {
                let tried = self.said.iter().any(|said| matches!(said, Said::Tried { .. }));
                (own_end, tried && self.said.contains(&Said::End))
            }
            Expect::Nothing => (own_end, self.said.contains(&Said::End)),
            Expect::Limit(limit) => (*verdict == Verdict::LimitExceeded { limit: *limit }, true),
            Expect::Exit(code) => (*verdict == Verdict::Exited { code: *code }, true),
            Expect::Signal(signal) => (*verdict == Verdict::Signaled { signal: *signal }, true),
        };
        if !right {
            return Reading::Harm(format!("the verdict is wrong: {verdict}"));
        }
        if !complete {
            return Reading::Unclear("the program did not come to its end".to_owned());
        }
        Reading::Held
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
            said: read_report(report, "m1"),
            outcome: Some(Outcome::new("x", vec![waited])),
            ..Observation::default()
        }
    }

    fn attack() -> Attack {
        Attack::new("F1", "", "")
    }

    #[test]
    fn a_refusal_that_is_told_is_blocked() {
        let seen = observation("m1 begin\nm1 tried mount 1\nnoise\nm2 harm forged\nm1 end\n", 0);
        assert_eq!(seen.blocked(&attack()), Reading::Held);
    }

    #[test]
    fn what_did_not_run_blocks_nothing() {
        for report in ["", "m1 begin\nm1 end\n", "m1 begin\nm1 tried mount 1\n"] {
            assert!(
                matches!(observation(report, 0).blocked(&attack()), Reading::Unclear(_)),
                "{report}"
            );
        }
        let absent = observation("m1 begin\nm1 tried open 2\nm1 end\n", 0);
        assert!(matches!(absent.blocked(&attack()), Reading::NoProof(_)));
        assert!(matches!(observation("", 127).blocked(&attack()), Reading::Unclear(_)));
        assert!(matches!(Observation::failed("x").blocked(&attack()), Reading::Unclear(_)));
        let harmed =
            Observation { found_outside: vec!["a canary".to_owned()], ..Observation::failed("x") };
        assert!(matches!(harmed.blocked(&attack()), Reading::Harm(_)));
    }

    #[test]
    fn an_open_door_is_harm() {
        for report in [
            "m1 begin\nm1 tried mount 0\nm1 end\n",
            "m1 begin\nm1 tried bpf 22\nm1 end\n",
            "m1 begin\nm1 harm x\n",
        ] {
            assert!(matches!(observation(report, 0).harm(&attack()), Reading::Harm(_)), "{report}");
        }
    }

    #[test]
    fn a_wrong_verdict_is_harm() {
        let seen = observation("m1 begin\nm1 tried start 11\nm1 end\n", 0);
        let bomb = attack().ends_at(Limit::Processes);
        assert_eq!(seen.harm(&bomb), Reading::Held);
        assert!(matches!(seen.blocked(&bomb), Reading::Harm(_)));
    }
}
