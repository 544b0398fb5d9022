//! Cases on processes that a program leaves behind.

use std::time::{Duration, Instant};

use crucible_core::{Evaluation, Evidence, Verdict};

use super::support::{Subject, assert_verdict, limits, program, run, slowness};

/// The outcome has the parent's verdict and output, and does not wait for the daemon.
pub async fn daemon_holding_stdout_does_not_delay_outcome(engine: Subject) {
    let began = Instant::now();
    let outcome =
        run(&engine, &Evaluation::shell(program!("hold_stdout.sh")).with_limits(limits())).await;
    assert_verdict(&outcome, &Verdict::Exited { code: 7 });
    assert_eq!(outcome.stdout.to_text(), "the parent is done\n");
    assert!(
        began.elapsed() < Duration::from_secs(10) * slowness(),
        "it took {:?}",
        began.elapsed()
    );
}

/// A process without a living parent is killed with the others.
pub async fn double_forked_process_is_killed(engine: Subject) {
    let outcome =
        run(&engine, &Evaluation::python(program!("double_fork.py")).with_limits(limits())).await;
    assert_verdict(&outcome, &Verdict::Exited { code: 8 });
    assert_eq!(survivors(outcome.evidence()), 1);
}

/// The evidence contains the number of surviving processes.
pub async fn surviving_processes_are_counted(engine: Subject) {
    let script = "for i in 1 2 3 4 5; do sleep 1000 & done; exit 0";
    let outcome = run(&engine, &Evaluation::shell(script).with_limits(limits())).await;
    assert_verdict(&outcome, &Verdict::Exited { code: 0 });
    assert_eq!(survivors(outcome.evidence()), 5);
}

fn survivors(evidence: &[Evidence]) -> u64 {
    evidence
        .iter()
        .map(|fact| match fact {
            Evidence::Survivors { count } => *count,
            _ => 0,
        })
        .sum()
}
