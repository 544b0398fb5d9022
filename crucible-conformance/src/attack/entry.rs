//! What is known of an attack: what it does, what must hold, which layers stop it.

use std::time::Duration;

use crucible_core::{Collect, Deviation, Layer, Limit, Limits, Outcome, Signal};

const MIB: u64 = 1024 * 1024;

/// Errors that mean that the kernel, or a filter in front of it, refused: `EPERM`, `EACCES`, `EROFS`, `ENOSYS`,
/// `EAFNOSUPPORT`.
const REFUSALS: &[i32] = &[1, 13, 30, 38, 97];

/// One attack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attack {
    /// Its name, which is that of its program.
    pub name: &'static str,
    /// The subject that it belongs to.
    pub family: &'static str,
    /// Its number in the catalogue of attacks: a letter for the family, a digit for the case.
    pub catalogue: &'static str,
    /// What the program does.
    pub does: &'static str,
    /// What must hold.
    pub holds: &'static str,
    /// The layers that stop it; each of them, where there are several, by itself.
    pub layers: &'static [Layer],
    pub(super) expect: Expect,
    pub(super) control: Control,
    pub(super) needs: Needs,
    pub(super) limits: fn(Limits) -> Limits,
    /// Where it cannot do harm, and why: in engines whose kernel is another.
    pub(super) harmless: Option<(Deviation, &'static str)>,
    /// What is wrong with an outcome, beyond its verdict.
    pub(super) check: Option<fn(&Outcome) -> Option<&'static str>>,
}

/// How a run of the attack must end.
#[derive(Debug, Clone)]
pub(super) enum Expect {
    /// Everything that is tried is refused, with one of these errors.
    Refused(&'static [i32]),
    /// It is ended at this limit.
    Limit(Limit),
    /// It ends by itself, with 0, and did no harm.
    Nothing,
    /// It exits with this code.
    Exit(i32),
    /// This signal ends it.
    Signal(Signal),
}

/// Who shows that the program does harm where nothing stops it.
#[derive(Debug, Clone)]
pub(super) enum Control {
    /// A plain process, in scratch namespaces of these kinds.
    Bare(&'static str),
    /// A plain process that is sent `SIGTERM` after this time, as `timeout(1)` and others do.
    Timeout(&'static str, Duration),
    /// A plain process, whose results are collected by somebody who follows what he finds.
    Collector,
    /// A plain process, of which somebody judges by its exit code and its text.
    Judge,
    /// As `Bare`, on kernels that have the thing; where the kernel itself refuses, nothing can be shown.
    BareIfThere(&'static str, &'static str),
    /// Nobody, for this reason.
    NotShown(&'static str),
}

/// What an attack needs besides the usual scene.
#[derive(Debug, Clone)]
pub(super) enum Needs {
    Nothing,
    /// To be run twice in a row.
    Twice,
    /// A memory segment and a message queue of the host; which of them the program looks for.
    Shared(SharedKind),
    /// That results are collected.
    Results(Collect, u64),
    /// That somebody tries to connect.
    Caller,
    /// A descriptor of the host that is not closed when a program is executed.
    LeakedDescriptor,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum SharedKind {
    Segment,
    Queue,
}

impl Attack {
    /// An attack that is refused, and whose control is a plain process.
    pub(super) fn new(catalogue: &'static str, does: &'static str, holds: &'static str) -> Self {
        Self {
            name: "",
            family: "",
            catalogue,
            does,
            holds,
            layers: &[],
            expect: Expect::Refused(REFUSALS),
            control: Control::Bare(""),
            needs: Needs::Nothing,
            limits: |limits| limits,
            harmless: None,
            check: None,
        }
    }

    pub(super) fn named(mut self, family: &'static str, name: &'static str) -> Self {
        self.family = family;
        self.name = name;
        self
    }

    pub(super) fn stopped_by(mut self, layers: &'static [Layer]) -> Self {
        self.layers = layers;
        self
    }

    pub(super) fn refused_with(mut self, errors: &'static [i32]) -> Self {
        self.expect = Expect::Refused(errors);
        self
    }

    pub(super) fn ends_at(mut self, limit: Limit) -> Self {
        self.expect = Expect::Limit(limit);
        self
    }

    pub(super) fn does_nothing(mut self) -> Self {
        self.expect = Expect::Nothing;
        self
    }

    pub(super) fn exits(mut self, code: i32) -> Self {
        self.expect = Expect::Exit(code);
        self
    }

    pub(super) fn ended_by(mut self, signal: Signal) -> Self {
        self.expect = Expect::Signal(signal);
        self
    }

    pub(super) fn shown_by(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Shown by a plain process in scratch namespaces.
    pub(super) fn shown_in(self, kinds: &'static str) -> Self {
        self.shown_by(Control::Bare(kinds))
    }

    pub(super) fn needing(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    pub(super) fn within(mut self, limits: fn(Limits) -> Limits) -> Self {
        self.limits = limits;
        self
    }

    /// It does not apply to engines that differ in this, for this reason.
    pub(super) fn harmless_where(mut self, difference: Deviation, why: &'static str) -> Self {
        self.harmless = Some((difference, why));
        self
    }

    pub(super) fn checked(mut self, check: fn(&Outcome) -> Option<&'static str>) -> Self {
        self.check = Some(check);
        self
    }

    /// The limits under which it runs. Each program that nothing stops goes several times beyond those that it is about.
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
