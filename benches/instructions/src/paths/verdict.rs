//! Evidence to verdict, and outcomes to JSON.

use std::hint::black_box;
use std::time::Duration;

use crucible_core::{Outcome, judge};
use crucible_guest::protocol::Exited;
use crucible_guest_client::{
    CgroupCounters, CommandEnd, CommandLimits, CommandRun, EvidenceBuilder, UsageBaseline,
};

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
    Box::new(move || {
        let end = CommandEnd { exited: Some(exited), ..CommandEnd::default() };
        let builder = EvidenceBuilder {
            before: UsageBaseline { counters: before, guest_cpu: Duration::ZERO },
            now,
            limits: CommandLimits {
                wall: Duration::from_secs(10),
                cpu: Duration::from_secs(5),
                output_bytes: 1 << 20,
            },
            memory_limit: 256 << 20,
            output_bytes: 14,
            run: CommandRun { end, ..CommandRun::default() },
        };
        let evidence = black_box(builder).into_evidence();
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
