//! Generators for the fuzz targets: evidence of a run, from bytes.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use crucible_core::{
    Ending, ErrorReport, Evaluation, EventKind, Evidence, KillReason, Limit, NotStartedReason,
    Outcome, OutputStream, RequeueReason, Signal, Verdict, WorkerId,
};

/// The maximum number of pieces of evidence of one run.
const LENGTH_MAX: usize = 8;

fn micros(data: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(Duration::from_micros(data.arbitrary()?))
}

fn signal(data: &mut Unstructured<'_>) -> Result<Signal> {
    Ok(Signal::from_number(data.arbitrary()?).unwrap_or(Signal::SEGV))
}

fn ending(data: &mut Unstructured<'_>) -> Result<Ending> {
    Ok(if data.arbitrary()? {
        Ending::Exited { code: data.arbitrary()? }
    } else {
        Ending::Signaled { signal: signal(data)? }
    })
}

fn verdict(data: &mut Unstructured<'_>) -> Result<Verdict> {
    Ok(match data.int_in_range(0..=7)? {
        0 => Verdict::Exited { code: data.arbitrary()? },
        1 => Verdict::Signaled { signal: signal(data)? },
        2 => Verdict::LimitExceeded {
            limit: *data.choose(&[Limit::Wall, Limit::Cpu, Limit::Memory, Limit::Disk])?,
        },
        3 => Verdict::PolicyViolation { what: data.arbitrary()? },
        4 => Verdict::NotStarted { reason: NotStartedReason::BadFormat },
        5 => Verdict::Cancelled,
        6 => Verdict::Inconclusive { reason: data.arbitrary()? },
        _ => Verdict::CompileFailed { cause: Box::new(Verdict::Cancelled) },
    })
}

/// Generates a fact. Its numbers may be inconsistent.
fn fact(data: &mut Unstructured<'_>) -> Result<Evidence> {
    let reasons = [
        KillReason::Wall,
        KillReason::Cpu,
        KillReason::Output,
        KillReason::Cancelled,
        KillReason::Leftover,
    ];
    Ok(match data.int_in_range(0..=13)? {
        0 => Evidence::Waited { ending: ending(data)?, after: micros(data)? },
        1 => Evidence::ExecFailed {
            reason: NotStartedReason::NoSuchProgram,
            errno: data.arbitrary()?,
        },
        2 => Evidence::Killed {
            signal: signal(data)?,
            reason: *data.choose(&reasons)?,
            after: micros(data)?,
        },
        3 => Evidence::OomKilled {
            count: data.arbitrary()?,
            limit_hits: data.arbitrary()?,
            peak_bytes: data.arbitrary()?,
            limit_bytes: data.arbitrary()?,
        },
        4 => Evidence::ForkRefused { count: data.arbitrary()? },
        5 => Evidence::CpuTime { used: micros(data)?, limit: micros(data)? },
        6 => Evidence::WallTime { used: micros(data)?, limit: micros(data)? },
        7 => Evidence::OutputBytes { bytes: data.arbitrary()?, limit_bytes: data.arbitrary()? },
        8 => Evidence::FileSystemFull {
            free_bytes: data.arbitrary()?,
            free_inodes: data.arbitrary()?,
        },
        9 => Evidence::Violation { what: data.arbitrary()? },
        10 => Evidence::Survivors { count: data.arbitrary()? },
        11 => Evidence::NotConfirmedDead,
        12 => Evidence::Compiled { verdict: verdict(data)? },
        _ => Evidence::CancelledBeforeStart,
    })
}

/// Generates evidence of a run, in any order and number.
///
/// # Errors
///
/// Returns an error if there are too few bytes.
pub fn evidence(data: &mut Unstructured<'_>) -> Result<Vec<Evidence>> {
    let count = data.int_in_range(0..=LENGTH_MAX)?;
    (0..count).map(|_| fact(data)).collect()
}

fn outcome(data: &mut Unstructured<'_>) -> Result<Outcome> {
    Ok(Outcome::new("fuzz", evidence(data)?))
}

/// Generates an event, which may be invalid at its position.
///
/// # Errors
///
/// Returns an error if there are too few bytes.
pub fn event_kind(data: &mut Unstructured<'_>) -> Result<EventKind> {
    // Small numbers, so that attempts are often consecutive.
    let attempt = data.int_in_range(0..=4)?;
    let error = || ErrorReport::new("lost", "gone");
    Ok(match data.int_in_range(0..=9)? {
        0 => EventKind::Submitted {
            evaluation: Evaluation::shell(data.arbitrary::<String>()?).into(),
        },
        1 => EventKind::Started { attempt, worker: WorkerId::new("w"), engine: data.arbitrary()? },
        2 => EventKind::AttemptFailed { attempt, error: error(), retry_in: micros(data)? },
        3 => EventKind::Requeued { attempt, reason: RequeueReason::LeaseExpired },
        4 => EventKind::CancelRequested,
        5 => EventKind::Finished { outcome: outcome(data)?.into() },
        6 => EventKind::Failed { error: error() },
        7 => {
            let outcome = if data.arbitrary()? { Some(outcome(data)?.into()) } else { None };
            EventKind::Cancelled { reason: data.arbitrary()?, outcome }
        }
        8 => EventKind::Expired,
        _ => EventKind::Output {
            stream: OutputStream::Stdout,
            offset: data.arbitrary()?,
            bytes: bytes::Bytes::from(data.arbitrary::<Vec<u8>>()?),
        },
    })
}
