//! The comparison of counts with the baseline.

use crate::baseline::Baseline;
use crate::counts::Counts;

/// The allowed increase of a path's instructions, in percent: above the noise of hash seeds and the
/// time of day, below any relevant regression.
pub(crate) const ALLOWED_PERCENT: u64 = 3;
const RENEW: &str = "`benches/instructions/check --renew` renews the baseline";

/// The result of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// One line per path that exceeds the margin or is missing on one side.
    pub(crate) failures: Vec<String>,
    /// One line per path that improved so much that the baseline no longer guards it.
    pub(crate) hints: Vec<String>,
}

/// Compares counts with a baseline. Allocations must match exactly.
pub(crate) fn compare(baseline: &Baseline, counted: &[(&'static str, Counts)]) -> Comparison {
    let mut comparison = Comparison::default();
    for (name, now) in counted {
        match baseline.paths.get(*name) {
            Some(before) if before.steps == now.steps => one(&mut comparison, name, before, now),
            _ => comparison.failures.push(format!("{name}: not in the baseline; {RENEW}")),
        }
    }
    for name in
        baseline.paths.keys().filter(|name| counted.iter().all(|(counted, _)| counted != name))
    {
        comparison
            .failures
            .push(format!("{name}: in the baseline, but no such path exists; {RENEW}"));
    }
    comparison
}

/// Compares the counts of one path.
fn one(comparison: &mut Comparison, name: &str, before: &Counts, now: &Counts) {
    let figures = [
        ("instructions", before.instructions, now.instructions, ALLOWED_PERCENT),
        ("instructions of hashing", before.hashing, now.hashing, ALLOWED_PERCENT),
        ("allocations", before.allocations, now.allocations, 0),
    ];
    for (what, before, now, allowed) in figures {
        let line = |than: &str| {
            let percent = (now as f64 / (before as f64).max(1.0) - 1.0) * 100.0;
            format!("{name}: {now} {what}, baseline {before} ({percent:+.1} %): {than}; {RENEW}")
        };
        if now * 100 > before * (100 + allowed) {
            comparison.failures.push(line(&format!("more than {allowed} % more")));
        } else if now * 100 < before * (100 - allowed) {
            comparison.hints.push(line("lower than the baseline by more than the margin"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(before: Counts, now: Counts) -> Comparison {
        let taken_with = serde_json::json!({"rustc": "", "valgrind": "", "libc": ""});
        let taken_with = serde_json::from_value(taken_with).unwrap();
        let baseline = Baseline { taken_with, paths: [("a path".to_owned(), before)].into() };
        compare(&baseline, &[("a path", now)])
    }

    fn counts(instructions: u64, allocations: u64) -> Counts {
        Counts { steps: 1, instructions, hashing: 0, allocations, bytes: 0 }
    }

    #[test]
    fn increase_of_3_percent_passes_and_of_4_percent_fails() {
        assert!(compared(counts(1000, 5), counts(1030, 5)).failures.is_empty());
        let failures = compared(counts(1000, 5), counts(1040, 5)).failures;
        let wanted = "a path: 1040 instructions, baseline 1000 (+4.0 %): more than 3 % more; \
                      `benches/instructions/check --renew` renews the baseline";
        assert_eq!(failures, [wanted]);
    }

    #[test]
    fn one_more_allocation_fails() {
        assert_eq!(compared(counts(1000, 5), counts(1000, 6)).failures.len(), 1);
        assert_eq!(compared(counts(1000, 0), counts(1000, 1)).failures.len(), 1);
    }

    #[test]
    fn large_decrease_is_a_hint_and_no_failure() {
        let comparison = compared(counts(1000, 5), counts(900, 4));
        assert!(comparison.failures.is_empty());
        assert_eq!(comparison.hints.len(), 2);
        assert!(compared(counts(1000, 5), counts(980, 5)).hints.is_empty());
    }

    #[test]
    fn different_step_count_fails() {
        let mut other = compared(counts(1, 1), counts(1, 1));
        assert!(other.failures.is_empty());
        let before = Counts { steps: 2, ..counts(1, 1) };
        other = compared(before, counts(1, 1));
        assert_eq!(other.failures.len(), 1);
    }
}
