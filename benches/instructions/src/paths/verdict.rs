//! Evidence to verdict, and outcomes to JSON.

use std::hint::black_box;
use std::time::Duration;

use crucible_core::{Outcome, judge};
use crucible_guest::protocol::Exited;
use crucible_guest_client::{CgroupCounters, End, EvidenceBuilder};

use super::{Step, sample};

pub(super) fn from_facts(_: usize) -> Step {
    let before = CgroupCounters {
        oom_kills: Some(0),
        memory_limit_hits: Some(3),
        forks_refused: Some(0),
        memory_peak_bytes: Some(0),
        processes_peak: Some(1),
        cpu: Some(Duration::from_micros(300)),
    };
    let now = CgroupCounters { oom_kills: Some(1), memory_limit_hits: Some(9), ..before };
    let exited = Exited {
        wait_status: 9,
        empty: true,
        wall_us: 12_000,
        free_bytes: 1 << 20,
        ..Exited::default()
    };
    let end = End { exited: Some(exited), ..End::default() };
    Box::new(move || {
        let facts = EvidenceBuilder {
            before,
            guest_before: Duration::ZERO,
            now,
            memory_limit: 256 << 20,
            output: (14, 1 << 20),
            wall_limit: Duration::from_secs(10),
            cpu_limit: Duration::from_secs(5),
            elapsed: Duration::from_millis(12),
            end: &end,
        };
        let evidence = black_box(facts).evidence(Vec::new());
        black_box(judge(&evidence));
    })
}

pub(super) fn to_json_and_back(_: usize) -> Step {
    let outcome = sample::outcome();
    Box::new(move || {
        let json = serde_json::to_string(black_box(&outcome)).expect("an outcome in JSON");
        black_box(serde_json::from_str::<Outcome>(&json).expect("an outcome"));
    })
}
