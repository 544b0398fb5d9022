//! Retry policies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::time::duration_us;

/// The retry policy after *infrastructure* failures. A program's own failure is a verdict, and
/// verdicts are never retried.
///
/// The default is three attempts in total, with pauses of 100 ms and 200 ms, and only if the
/// program had not started. The caller decides whether a program may run twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retry {
    /// The total number of attempts; at least 1.
    pub attempts: u32,
    /// The pause before the second attempt. Each further pause is twice as long.
    #[serde(rename = "backoff_us", with = "duration_us")]
    pub backoff: Duration,
    /// The longest pause.
    #[serde(rename = "backoff_max_us", with = "duration_us")]
    pub backoff_max: Duration,
    /// Whether the program may run twice. If so, attempts that had started are retried too.
    pub idempotent: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            idempotent: false,
        }
    }
}

impl Retry {
    /// Returns a policy with one attempt.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Sets [`Retry::attempts`].
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets [`Retry::backoff`] and [`Retry::backoff_max`].
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = first;
        self.backoff_max = longest;
        self
    }

    /// Declares that the program may run twice.
    #[must_use]
    pub fn with_idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Returns the pause after the failure of an attempt, counted from 1.
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.backoff.saturating_mul(1 << doublings).min(self.backoff_max)
    }

    /// Returns the problems of this policy. `field` is its name.
    pub(crate) fn problems(&self, field: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.attempts == 0 || self.attempts > 100 {
            problems.push(Problem::new(
                format!("{field}.attempts"),
                format!("is {}; it must be between 1 and 100", self.attempts),
            ));
        }
        if self.backoff_max > Duration::from_secs(24 * 60 * 60) {
            problems.push(Problem::new(format!("{field}.backoff_max_us"), "is longer than a day"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let retry =
            Retry::default().with_backoff(Duration::from_millis(100), Duration::from_millis(350));
        let pauses: Vec<u128> = (1..5).map(|attempt| retry.pause(attempt).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 350, 350]);
        assert_eq!(retry.pause(u32::MAX).as_millis(), 350);
    }

    #[test]
    fn zero_and_excessive_attempts_are_refused() {
        assert_eq!(Retry::default().with_attempts(0).problems("retry").len(), 1);
        assert_eq!(Retry::default().with_attempts(101).problems("retry").len(), 1);
        assert!(Retry::never().problems("retry").is_empty());
    }
}
