//! How much is measured.

use std::time::Duration;

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Scale {
    /// Rounds of short runs.
    pub(crate) rounds: usize,
    /// Rounds of Python.
    pub(crate) python_rounds: usize,
    /// How many problems of HumanEval, and how often all of them.
    pub(crate) problems: usize,
    pub(crate) problem_passes: usize,
    /// Rounds of containers.
    pub(crate) container_rounds: usize,
    /// How long one throughput is measured, and how often.
    pub(crate) span: Duration,
    pub(crate) passes: usize,
    /// Runs beside neighbours that misbehave.
    pub(crate) neighbour_rounds: usize,
    /// Runs whose verdicts are held against what is known.
    pub(crate) verdicts: usize,
    /// How many hosts are killed.
    pub(crate) kills: usize,
    /// The most evaluations that wait, in memory and in a data directory.
    pub(crate) queued: usize,
    pub(crate) queued_durably: usize,
    /// The most sandboxes at once.
    pub(crate) at_once: usize,
    /// The most bytes of output.
    pub(crate) output: u64,
    /// The most input files.
    pub(crate) inputs: usize,
    /// Evaluations that listeners hear of.
    pub(crate) heard: usize,
    /// Runs after which nothing is to have grown.
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
        heard: 3_000,
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
        heard: 20_000,
        soak: 200_000,
    };
}
