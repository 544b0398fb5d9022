//! Tests with the smallest memory limit: small programs run, larger ones get a verdict, and no run
//! is lost.

use super::runs::{run, without};
use crucible_core::{Evaluation, Layer, Limit, Limits, Verdict};

/// The smallest limit that [`Limits`] accepts.
const SMALLEST: u64 = 4 * 1024 * 1024;
const MEMORY: Verdict = Verdict::LimitExceeded { limit: Limit::Memory };

fn busybox(arguments: &[&str]) -> Evaluation {
    let argv = ["/bin/busybox"].iter().chain(arguments).copied();
    Evaluation::command(argv).with_limits(Limits::new().with_memory_bytes(SMALLEST))
}

#[test]
fn smaller_limit_is_refused() {
    assert!(Limits::new().with_memory_bytes(SMALLEST).problems("limits").is_empty());
    assert!(!Limits::new().with_memory_bytes(SMALLEST - 1).problems("limits").is_empty());
}

#[test]
fn static_program_runs_or_exceeds_memory() {
    let engine = without(&[]);
    for round in 0..10 {
        for arguments in
            [&["true"][..], &["echo", "hello"], &["sh", "-c", "busybox echo one; exit 3"]]
        {
            let outcome = run(&engine, &busybox(arguments));
            let code = if arguments.len() > 2 { 3 } else { 0 };
            let expected = [Verdict::Exited { code }, MEMORY];
            assert!(
                expected.contains(outcome.verdict()),
                "{arguments:?}, {round}: {:?}",
                outcome.evidence()
            );
        }
    }
}

#[test]
fn large_allocation_exceeds_memory() {
    let engine = without(&[]);
    for arguments in [&["tail", "/dev/zero"][..], &["sh", "-c", "x=x; while :; do x=$x$x; done"]] {
        let outcome = run(&engine, &busybox(arguments));
        if outcome.enforcement.enforces(Layer::MemoryCgroup) {
            assert_eq!(*outcome.verdict(), MEMORY, "{arguments:?}: {:?}", outcome.evidence());
        } else {
            // The limit of each process refuses an allocation, and the program decides how to
            // react.
            assert!(!outcome.is_success(), "{arguments:?}: {:?}", outcome.evidence());
        }
    }
}

/// A dynamically linked program may be too large. It gets a verdict, not an infrastructure failure.
#[test]
fn dynamic_program_gets_a_verdict() {
    let engine = without(&[]);
    let limits = Limits::new().with_memory_bytes(SMALLEST);
    for evaluation in [Evaluation::python("print(1)"), Evaluation::shell("exit 0")] {
        let outcome = run(&engine, &evaluation.with_limits(limits.clone()));
        let infrastructure = matches!(outcome.verdict(), Verdict::Inconclusive { .. });
        assert!(!infrastructure, "{}: {:?}", outcome.verdict(), outcome.evidence());
    }
}
