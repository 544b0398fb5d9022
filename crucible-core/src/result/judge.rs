//! The computation of verdicts from evidence.

use super::evidence::{Evidence, KillReason};
use super::verdict::{Ending, Verdict};
use crate::model::Limit;

/// Computes the verdict from the evidence alone.
///
/// The first rule that applies decides:
///
/// 1. The compile step did not exit with 0: `CompileFailed`. A missing compiler is `NotStarted`.
/// 2. execve(2) failed: `NotStarted`.
/// 3. The run was cancelled before the program ended by itself: `Cancelled`.
/// 4. The kernel counted a hit of a limit (`memory`, `processes`): `LimitExceeded`, independent of
///    later facts, because the program's behaviour after the hit is not reliable. An out-of-memory
///    kill without a hit of the sandbox's own limit is the host's: `Inconclusive`.
/// 5. The program violated the policy: `PolicyViolation`.
/// 6. A measurement exceeds a limit (`output`, `cpu`, `wall`): `LimitExceeded`, even if the program
///    ended by itself before the kill.
/// 7. The engine killed the program at a limit before it ended by itself: `LimitExceeded`.
/// 8. A file system was full at the end: `LimitExceeded` (`disk`).
/// 9. The program ended by itself: `Exited` or `Signaled`.
/// 10. Otherwise: `Inconclusive`.
///
/// If one rule applies to several facts, the first fact in the list decides.
#[must_use]
pub fn judge(evidence: &[Evidence]) -> Verdict {
    compile_failure(evidence)
        .or_else(|| not_started(evidence))
        .or_else(|| cancelled(evidence))
        .or_else(|| counted_limit(evidence))
        .or_else(|| violation(evidence))
        .or_else(|| measured_limit(evidence))
        .or_else(|| enforced_limit(evidence))
        .or_else(|| full_disk(evidence))
        .or_else(|| own_ending(evidence))
        .unwrap_or_else(|| inconclusive(evidence))
}

/// Returns the program's ending, if the evidence has one.
#[must_use]
pub fn ending(evidence: &[Evidence]) -> Option<Ending> {
    evidence.iter().find_map(|fact| match fact {
        Evidence::Waited { ending, .. } => Some(*ending),
        _ => None,
    })
}

/// Applies rule 1: the compile step.
fn compile_failure(evidence: &[Evidence]) -> Option<Verdict> {
    evidence.iter().find_map(|fact| match fact {
        Evidence::Compiled { verdict } => match verdict {
            Verdict::Exited { code: 0 } => None,
            Verdict::Cancelled | Verdict::Inconclusive { .. } | Verdict::NotStarted { .. } => {
                Some(verdict.clone())
            }
            _ => Some(Verdict::CompileFailed { cause: Box::new(verdict.clone()) }),
        },
        _ => None,
    })
}

/// Applies rule 2: execve(2) failed.
fn not_started(evidence: &[Evidence]) -> Option<Verdict> {
    evidence.iter().find_map(|fact| match fact {
        Evidence::ExecFailed { reason, .. } => Some(Verdict::NotStarted { reason: reason.clone() }),
        _ => None,
    })
}

/// Applies rule 3: cancellation.
fn cancelled(evidence: &[Evidence]) -> Option<Verdict> {
    if evidence.contains(&Evidence::CancelledBeforeStart) {
        return Some(Verdict::Cancelled);
    }
    killed_for(evidence, |reason| reason == KillReason::Cancelled).then_some(Verdict::Cancelled)
}

/// Applies rule 4: limits that the kernel counts.
fn counted_limit(evidence: &[Evidence]) -> Option<Verdict> {
    evidence.iter().find_map(|fact| match fact {
        oom if oom.is_out_of_own_memory() => Some(Verdict::LimitExceeded { limit: Limit::Memory }),
        Evidence::OomKilled { .. } => Some(Verdict::Inconclusive {
            reason: "the host ran out of memory and killed a process of the sandbox".to_owned(),
        }),
        Evidence::ForkRefused { .. } => Some(Verdict::LimitExceeded { limit: Limit::Processes }),
        _ => None,
    })
}

/// Applies rule 5: violations of the policy.
fn violation(evidence: &[Evidence]) -> Option<Verdict> {
    evidence.iter().find_map(|fact| match fact {
        Evidence::Violation { what } => Some(Verdict::PolicyViolation { what: what.clone() }),
        _ => None,
    })
}

/// Applies rule 6: limits that the engine measures.
fn measured_limit(evidence: &[Evidence]) -> Option<Verdict> {
    evidence.iter().find_map(|fact| match *fact {
        Evidence::OutputBytes { bytes, limit_bytes } if bytes > limit_bytes => {
            Some(Verdict::LimitExceeded { limit: Limit::Output })
        }
        Evidence::CpuTime { used, limit } if used > limit => {
            Some(Verdict::LimitExceeded { limit: Limit::Cpu })
        }
        Evidence::WallTime { used, limit } if used > limit => {
            Some(Verdict::LimitExceeded { limit: Limit::Wall })
        }
        _ => None,
    })
}

/// Applies rule 7: limits that the engine enforces with a signal.
fn enforced_limit(evidence: &[Evidence]) -> Option<Verdict> {
    evidence.iter().find_map(|fact| match fact {
        Evidence::Killed { reason, .. } if killed_for(evidence, |seen| seen == *reason) => {
            reason.limit().map(|limit| Verdict::LimitExceeded { limit })
        }
        _ => None,
    })
}

/// Returns `true` if the engine killed the program for such a reason before it ended by itself.
///
/// A program can end by itself at the moment of the kill. The kill log then has an entry for a
/// signal without effect, and `Waited` has another ending than that signal. The ending decides.
fn killed_for(evidence: &[Evidence], wanted: impl Fn(KillReason) -> bool) -> bool {
    evidence.iter().any(|fact| match fact {
        Evidence::Killed { signal, reason, .. } if wanted(*reason) => {
            ending(evidence).is_none_or(|ending| ending == Ending::Signaled { signal: *signal })
        }
        _ => false,
    })
}

/// Applies rule 8: a full file system.
fn full_disk(evidence: &[Evidence]) -> Option<Verdict> {
    evidence
        .iter()
        .any(|fact| matches!(fact, Evidence::FileSystemFull { .. }))
        .then_some(Verdict::LimitExceeded { limit: Limit::Disk })
}

/// Applies rule 9: the program's own ending.
fn own_ending(evidence: &[Evidence]) -> Option<Verdict> {
    ending(evidence).map(Verdict::from)
}

/// Applies rule 10: no fact decides.
///
/// The reasons are part of the wire form: a stored outcome is valid only if its verdict equals the
/// verdict that its evidence implies, including the reason.
fn inconclusive(evidence: &[Evidence]) -> Verdict {
    let reason = if evidence.contains(&Evidence::NotConfirmedDead) {
        "a process of the sandbox could not be confirmed dead"
    } else {
        "nobody saw how the program ended"
    };
    Verdict::Inconclusive { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Signal;
    use crate::result::verdict::NotStartedReason;

    const AFTER: Duration = Duration::from_millis(7);

    fn exited(code: i32) -> Evidence {
        Evidence::Waited { ending: Ending::Exited { code }, after: AFTER }
    }

    fn signaled(signal: Signal) -> Evidence {
        Evidence::Waited { ending: Ending::Signaled { signal }, after: AFTER }
    }

    fn killed(reason: KillReason) -> Evidence {
        Evidence::Killed { signal: Signal::KILL, reason, after: AFTER }
    }

    fn limit(limit: Limit) -> Verdict {
        Verdict::LimitExceeded { limit }
    }

    fn oom_killed(limit_hits: u64, peak_bytes: Option<u64>) -> Evidence {
        Evidence::OomKilled { count: 1, limit_hits, peak_bytes, limit_bytes: 128 << 20 }
    }

    #[test]
    fn exit_codes_have_no_special_meaning() {
        for code in [0, 1, 3, 124, 126, 127, 137, 139, 143, 255] {
            assert_eq!(judge(&[exited(code)]), Verdict::Exited { code });
        }
        assert_eq!(judge(&[signaled(Signal::SEGV)]), Verdict::Signaled { signal: Signal::SEGV });
        assert_eq!(judge(&[signaled(Signal::KILL)]), Verdict::Signaled { signal: Signal::KILL });
    }

    #[test]
    fn kill_log_distinguishes_own_kills() {
        for (reason, which) in [
            (KillReason::Wall, Limit::Wall),
            (KillReason::Cpu, Limit::Cpu),
            (KillReason::Output, Limit::Output),
        ] {
            assert_eq!(judge(&[killed(reason), signaled(Signal::KILL)]), limit(which));
            assert_eq!(judge(&[killed(reason)]), limit(which));
        }
        assert_eq!(judge(&[killed(KillReason::Cancelled)]), Verdict::Cancelled);
        assert_eq!(judge(&[exited(0), killed(KillReason::Leftover)]), Verdict::Exited { code: 0 });
    }

    #[test]
    fn late_kill_does_not_change_the_verdict() {
        for reason in [KillReason::Wall, KillReason::Cpu, KillReason::Output, KillReason::Cancelled]
        {
            assert_eq!(judge(&[killed(reason), exited(0)]), Verdict::Exited { code: 0 });
            let own = Verdict::Signaled { signal: Signal::SEGV };
            assert_eq!(judge(&[killed(reason), signaled(Signal::SEGV)]), own);
        }
    }

    #[test]
    fn counted_limit_outweighs_later_facts() {
        let oom = oom_killed(12, None);
        assert_eq!(judge(&[exited(0), oom.clone()]), limit(Limit::Memory));
        assert_eq!(judge(&[signaled(Signal::KILL), oom.clone()]), limit(Limit::Memory));
        assert_eq!(judge(&[killed(KillReason::Wall), oom.clone()]), limit(Limit::Memory));
        let fork = Evidence::ForkRefused { count: 900 };
        assert_eq!(judge(&[killed(KillReason::Wall), fork.clone()]), limit(Limit::Processes));
        assert_eq!(judge(&[exited(0), fork, oom]), limit(Limit::Processes));
    }

    #[test]
    fn oom_of_the_host_is_inconclusive() {
        let verdict = judge(&[signaled(Signal::KILL), oom_killed(0, Some(70 << 20))]);
        assert!(matches!(verdict, Verdict::Inconclusive { .. }));
        assert_eq!(verdict.blame(), crate::Blame::Host);
        assert!(matches!(judge(&[oom_killed(0, None)]), Verdict::Inconclusive { .. }));
    }

    #[test]
    fn uncounted_oom_is_attributed_by_peak() {
        assert_eq!(judge(&[oom_killed(0, Some(128 << 20))]), limit(Limit::Memory));
        assert_eq!(judge(&[oom_killed(0, Some((128 << 20) - 4096))]), limit(Limit::Memory));
    }

    #[test]
    fn full_disk_explains_ending_but_not_kill() {
        let full = Evidence::FileSystemFull { free_bytes: 0, free_inodes: 9 };
        assert_eq!(judge(&[exited(1), full.clone()]), limit(Limit::Disk));
        assert_eq!(judge(&[killed(KillReason::Wall), full]), limit(Limit::Wall));
    }

    #[test]
    fn failed_exec_is_not_started() {
        let failed = Evidence::ExecFailed { reason: NotStartedReason::NoSuchProgram, errno: 2 };
        assert_eq!(
            judge(&[failed]),
            Verdict::NotStarted { reason: NotStartedReason::NoSuchProgram }
        );
    }

    #[test]
    fn only_a_failed_compile_is_the_verdict() {
        let compiled = |verdict| Evidence::Compiled { verdict };
        let error = Verdict::Exited { code: 1 };
        assert_eq!(
            judge(&[compiled(error.clone())]),
            Verdict::CompileFailed { cause: Box::new(error) }
        );
        assert_eq!(
            judge(&[compiled(Verdict::Exited { code: 0 }), exited(5)]),
            Verdict::Exited { code: 5 }
        );
        assert_eq!(judge(&[compiled(Verdict::Cancelled)]), Verdict::Cancelled);
        let missing = Verdict::NotStarted { reason: NotStartedReason::NoSuchProgram };
        assert_eq!(judge(&[compiled(missing.clone())]), missing);
    }

    #[test]
    fn missing_evidence_is_inconclusive() {
        assert!(matches!(judge(&[]), Verdict::Inconclusive { .. }));
        assert!(matches!(judge(&[Evidence::NotConfirmedDead]), Verdict::Inconclusive { .. }));
        assert_eq!(judge(&[Evidence::CancelledBeforeStart]), Verdict::Cancelled);
    }

    #[test]
    fn measured_excess_outweighs_the_ending() {
        let output = Evidence::OutputBytes { bytes: 4097, limit_bytes: 4096 };
        assert_eq!(
            judge(&[exited(0), output.clone()]),
            Verdict::LimitExceeded { limit: Limit::Output }
        );
        assert_eq!(
            judge(&[signaled(Signal::SEGV), output]),
            Verdict::LimitExceeded { limit: Limit::Output }
        );
        let cpu = Evidence::CpuTime { used: 2 * AFTER, limit: AFTER };
        assert_eq!(judge(&[exited(3), cpu]), Verdict::LimitExceeded { limit: Limit::Cpu });
        let wall = Evidence::WallTime { used: 2 * AFTER, limit: AFTER };
        assert_eq!(judge(&[exited(0), wall]), Verdict::LimitExceeded { limit: Limit::Wall });
        let within = Evidence::OutputBytes { bytes: 4096, limit_bytes: 4096 };
        assert_eq!(judge(&[exited(0), within]), Verdict::Exited { code: 0 });
    }
}
