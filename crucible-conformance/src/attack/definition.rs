//! The definition of an attack: its action, its expectation, and the layers that stop it.

use std::time::Duration;

use crucible_core::{Collect, Deviation, Layer, Limit, Limits, Outcome, Signal};

const MIB: u64 = 1024 * 1024;

/// Errors by which the kernel, or a filter in front of it, refuses a call: `EPERM`, `EACCES`,
/// `EROFS`, `ENOSYS`, `EAFNOSUPPORT`.
const REFUSALS: &[i32] = &[1, 13, 30, 38, 97];

/// One attack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attack {
    /// The name of the attack and of its program.
    pub name: &'static str,
    /// The group of attacks on the same subject.
    pub family: &'static str,
    /// The number in the catalogue of attacks: a letter for the subject, a digit for the case.
    pub catalogue: &'static str,
    /// The action of the program.
    pub action: &'static str,
    /// The conditions that must hold during and after the run.
    pub expectation: &'static str,
    /// The layers that stop it. Each layer alone is enough.
    pub layers: &'static [Layer],
    pub(super) expected_ending: ExpectedEnding,
    pub(super) control: ControlMethod,
    pub(super) needs: FixtureNeeds,
    pub(super) limits: fn(Limits) -> Limits,
    /// The engine deviation that makes the attack harmless, and the reason.
    pub(super) not_applicable: Option<(Deviation, &'static str)>,
    /// Returns the fault of an outcome, beyond a wrong verdict.
    pub(super) outcome_check: Option<fn(&Outcome) -> Option<&'static str>>,
}

/// The required ending of an attack's run.
#[derive(Debug, Clone)]
pub(super) enum ExpectedEnding {
    /// Every attempt is refused with one of these errors.
    Refused(&'static [i32]),
    /// The engine ends the program at this limit.
    Limit(Limit),
    /// The program exits with 0 and did no harm.
    NormalExit,
    /// The program exits with this code.
    Exit(i32),
    /// This signal ends the program.
    Signal(Signal),
}

/// The way in which the control shows that the program does harm without isolation.
#[derive(Debug, Clone)]
pub(super) enum ControlMethod {
    /// Runs a plain process in scratch namespaces of these kinds.
    Unsandboxed(&'static str),
    /// Runs a plain process and sends it `SIGTERM` after this time, as `timeout(1)` does.
    UnsandboxedWithTimeout(&'static str, Duration),
    /// Runs a plain process and collects its results with a collector that follows links.
    NaiveCollector,
    /// Runs a plain process and judges it by its exit code and its output text.
    NaiveJudge,
    /// As `Unsandboxed`, if the kernel supports the attacked feature. Otherwise the control is
    /// skipped for the given reason.
    UnsandboxedIfSupported(&'static str, &'static str),
    /// No control is possible, for this reason.
    NotShown(&'static str),
}

/// The requirements of an attack on its fixture beyond the usual host objects.
#[derive(Debug, Clone)]
pub(super) enum FixtureNeeds {
    Nothing,
    /// Two runs in a row on the same engine.
    TwoRuns,
    /// A shared memory segment and a message queue of the host. The kind is the one under attack.
    SharedIpc(SharedIpcKind),
    /// A collection of results, and a count that the program reads as its parameter.
    Results(Collect, u64),
    /// A host process that tries to connect to the program.
    InboundConnection,
    /// A descriptor of the host without the close-on-exec flag.
    LeakedDescriptor,
}

/// A kind of shared object for communication between processes.
#[derive(Debug, Clone, Copy)]
pub(super) enum SharedIpcKind {
    Segment,
    Queue,
}

impl Attack {
    /// Creates an attack with refused attempts and a plain process as its control.
    pub(super) fn new(
        catalogue: &'static str,
        action: &'static str,
        expectation: &'static str,
    ) -> Self {
        Self {
            name: "",
            family: "",
            catalogue,
            action,
            expectation,
            layers: &[],
            expected_ending: ExpectedEnding::Refused(REFUSALS),
            control: ControlMethod::Unsandboxed(""),
            needs: FixtureNeeds::Nothing,
            limits: |limits| limits,
            not_applicable: None,
            outcome_check: None,
        }
    }

    /// Sets the family and the name.
    pub(super) fn named(mut self, family: &'static str, name: &'static str) -> Self {
        self.family = family;
        self.name = name;
        self
    }

    /// Sets the layers that stop the attack.
    pub(super) fn stopped_by(mut self, layers: &'static [Layer]) -> Self {
        self.layers = layers;
        self
    }

    /// Expects every attempt to be refused with one of these errors.
    pub(super) fn refused_with(mut self, errors: &'static [i32]) -> Self {
        self.expected_ending = ExpectedEnding::Refused(errors);
        self
    }

    /// Expects the engine to end the program at a limit.
    pub(super) fn ends_at(mut self, limit: Limit) -> Self {
        self.expected_ending = ExpectedEnding::Limit(limit);
        self
    }

    /// Expects the program to exit with 0.
    pub(super) fn ends_normally(mut self) -> Self {
        self.expected_ending = ExpectedEnding::NormalExit;
        self
    }

    /// Expects the program to exit with a code.
    pub(super) fn exits_with(mut self, code: i32) -> Self {
        self.expected_ending = ExpectedEnding::Exit(code);
        self
    }

    /// Expects a signal to end the program.
    pub(super) fn killed_by(mut self, signal: Signal) -> Self {
        self.expected_ending = ExpectedEnding::Signal(signal);
        self
    }

    /// Sets how the control shows the harm.
    pub(super) fn with_control(mut self, control: ControlMethod) -> Self {
        self.control = control;
        self
    }

    /// Uses a plain process in scratch namespaces as the control.
    pub(super) fn with_scratch_control(self, kinds: &'static str) -> Self {
        self.with_control(ControlMethod::Unsandboxed(kinds))
    }

    /// Sets what the attack needs from its fixture.
    pub(super) fn with_needs(mut self, needs: FixtureNeeds) -> Self {
        self.needs = needs;
        self
    }

    /// Sets a function that changes the usual limits.
    pub(super) fn with_limits(mut self, limits: fn(Limits) -> Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Skips engines with a deviation, for a reason.
    pub(super) fn not_applicable_where(
        mut self,
        deviation: Deviation,
        reason: &'static str,
    ) -> Self {
        self.not_applicable = Some((deviation, reason));
        self
    }

    /// Adds a check of the outcome beyond its verdict.
    pub(super) fn with_check(mut self, check: fn(&Outcome) -> Option<&'static str>) -> Self {
        self.outcome_check = Some(check);
        self
    }

    /// Returns the limits of a run. A program that attacks a limit exceeds it several times over.
    pub(super) fn limits(&self) -> Limits {
        let usual = Limits::new()
            .with_wall(Duration::from_secs(20))
            .with_cpu(Duration::from_secs(10))
            .with_memory_bytes(64 * MIB)
            .with_processes(32)
            .with_output_bytes(MIB)
            .with_disk_bytes(16 * MIB)
            .with_inodes(1000)
            .with_open_files(64);
        (self.limits)(usual)
    }
}
