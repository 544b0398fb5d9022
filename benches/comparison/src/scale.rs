//! The extent of a measurement.

use std::time::Duration;

/// Numbers of rounds and sizes.
#[derive(Debug)]
pub(crate) struct Scale {
    /// Rounds of short runs.
    pub(crate) rounds: usize,
    /// Rounds of Python.
    pub(crate) python_rounds: usize,
    /// The number of HumanEval problems.
    pub(crate) problems: usize,
    /// Repetitions of all problems.
    pub(crate) problem_passes: usize,
    /// Rounds of containers.
    pub(crate) container_rounds: usize,
    /// The duration of one throughput measurement.
    pub(crate) span: Duration,
    /// Repetitions of each throughput measurement.
    pub(crate) passes: usize,
    /// Runs beside misbehaving neighbours.
    pub(crate) neighbour_rounds: usize,
    /// Runs with known verdicts.
    pub(crate) verdicts: usize,
    /// Hosts to kill.
    pub(crate) kills: usize,
    /// The largest number of queued evaluations in memory.
    pub(crate) queued: usize,
    /// The largest number of queued evaluations in a data directory.
    pub(crate) queued_durably: usize,
    /// The largest number of parallel sandboxes.
    pub(crate) at_once: usize,
    /// The largest output in bytes.
    pub(crate) output: u64,
    /// The largest number of input files.
    pub(crate) inputs: usize,
    /// Evaluations with subscribers.
    pub(crate) subscribed: usize,
    /// Runs of the soak test.
    pub(crate) soak: usize,
}

impl Scale {
    pub(crate) const QUICK: Self = Self {
        rounds: 80,
        python_rounds: 20,
        problems: 164,
        problem_passes: 1,
        container_rounds: 8,
        span: Duration::from_millis(700),
        passes: 2,
        neighbour_rounds: 60,
        verdicts: 2000,
        kills: 5,
        queued: 10_000,
        queued_durably: 1_000,
        at_once: 256,
        output: 16 << 20,
        inputs: 10_000,
        subscribed: 3_000,
        soak: 2_000,
    };

    pub(crate) const FULL: Self = Self {
        rounds: 400,
        python_rounds: 150,
        problems: 164,
        problem_passes: 5,
        container_rounds: 40,
        span: Duration::from_secs(3),
        passes: 5,
        neighbour_rounds: 400,
        verdicts: 50_000,
        kills: 200,
        queued: 100_000,
        queued_durably: 100_000,
        at_once: 512,
        output: 1 << 30,
        inputs: 10_000,
        subscribed: 20_000,
        soak: 200_000,
    };
}
