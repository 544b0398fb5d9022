//! The time that [`judge`] takes to compute a verdict from evidence.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use crucible_core::{Ending, Evidence, KillReason, Signal, judge};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    judge_outcomes(&mut criterion);
    criterion.final_summary();
}

/// Measures one verdict for each length of the decision path: first rule, middle rule, last rule.
fn judge_outcomes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("judge");
    for (name, evidence) in [
        ("exited", vec![waited(Ending::Exited { code: 0 })]),
        ("memory_limit", out_of_memory()),
        ("wall_limit", killed_at_wall_limit()),
        ("inconclusive", vec![Evidence::NotConfirmedDead]),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| judge(black_box(&evidence))));
    }
    group.finish();
}

fn waited(ending: Ending) -> Evidence {
    Evidence::Waited { ending, after: Duration::from_millis(40) }
}

fn out_of_memory() -> Vec<Evidence> {
    let limit_bytes = 256 * 1024 * 1024;
    vec![
        waited(Ending::Signaled { signal: Signal::KILL }),
        Evidence::OomKilled { count: 1, limit_hits: 3, peak_bytes: Some(limit_bytes), limit_bytes },
        Evidence::Survivors { count: 2 },
    ]
}

fn killed_at_wall_limit() -> Vec<Evidence> {
    vec![
        Evidence::Killed {
            signal: Signal::KILL,
            reason: KillReason::Wall,
            after: Duration::from_secs(10),
        },
        waited(Ending::Signaled { signal: Signal::KILL }),
        Evidence::Survivors { count: 2 },
    ]
}
