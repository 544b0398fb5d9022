//! When to try again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::time::duration_us;

/// When an evaluation whose *infrastructure* failed is tried again. A program's own failure is a verdict, and a verdict
/// is never retried.
///
/// By default three attempts in all, 100 ms, then 200 ms apart, and only where the program had not started: running an
/// unknown program twice is the caller's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The pause before the second attempt; each further pause is twice as long.
    #[serde(rename = "backoff_us", with = "duration_us")]
    pub backoff: Duration,
    /// No pause is longer than this.
    #[serde(rename = "backoff_max_us", with = "duration_us")]
    pub backoff_max: Duration,
    /// Whether the program may run twice, so that it is also tried again after it had started.
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
    /// One attempt.
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

    /// Says that the program may run twice.
    #[must_use]
    pub fn with_idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The pause after the `attempt`-th attempt failed, counted from 1.
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.backoff.saturating_mul(1 << doublings).min(self.backoff_max)
    }

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
    fn pauses_double_up_to_the_longest() {
        let retry =
            Retry::default().with_backoff(Duration::from_millis(100), Duration::from_millis(350));
        let pauses: Vec<u128> = (1..5).map(|attempt| retry.pause(attempt).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 350, 350]);
        assert_eq!(retry.pause(u32::MAX).as_millis(), 350);
    }

    #[test]
    fn no_attempt_and_endless_attempts_are_refused() {
        assert_eq!(Retry::default().with_attempts(0).problems("retry").len(), 1);
        assert_eq!(Retry::default().with_attempts(101).problems("retry").len(), 1);
        assert!(Retry::never().problems("retry").is_empty());
    }
}
