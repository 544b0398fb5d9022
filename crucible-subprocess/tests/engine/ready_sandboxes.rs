//! Tests of sandboxes that the engine opens ahead of time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crucible_core::{
    Engine as _, EngineErrorKind, Evaluation, Limits, RunContext, SandboxSpec, Verdict,
};
use crucible_subprocess::{ReadyStats, SubprocessBuilder, SubprocessEngine};

use super::support::{cgroups, has_cgroups, members, unavailable_layers};

fn builder(count: usize) -> SubprocessBuilder {
    let builder = SubprocessEngine::builder().ready_sandboxes(count);
    unavailable_layers().iter().fold(builder, |builder, layer| builder.waive(*layer))
}

fn until(engine: &SubprocessEngine, what: &str, is_so: impl Fn(ReadyStats) -> bool) -> ReadyStats {
    let began = Instant::now();
    loop {
        let stats = engine.ready_sandbox_stats();
        if is_so(stats) {
            return stats;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {stats:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

async fn run(engine: &SubprocessEngine, evaluation: &Evaluation) -> String {
    let outcome = engine.run(evaluation, &RunContext::new()).await.unwrap();
    assert_eq!(*outcome.verdict(), Verdict::Exited { code: 0 }, "{:?}", outcome.evidence());
    outcome.stdout.to_text().into_owned()
}

#[tokio::test]
async fn ready_sandbox_is_used_once_and_replaced() {
    let engine = builder(2).build().unwrap();
    until(&engine, "two sandboxes are ready", |stats| stats.ready == 2);
    let leave = Evaluation::shell(
        "ls -A /tmp /box /dev/shm; echo mine > /tmp/left; echo $$; echo mine > /box/left",
    );
    let first = run(&engine, &leave).await;
    for round in 1..20 {
        until(&engine, "two sandboxes are ready again", |stats| stats.ready == 2);
        assert_eq!(run(&engine, &leave).await, first, "in round {round}");
    }
    let stats = engine.ready_sandbox_stats();
    assert_eq!((stats.hits, stats.misses, stats.failed), (20, 0, 0));
}

/// Limits of a sandbox need a ready sandbox of their own. Limits of a command do not.
#[tokio::test]
async fn other_limits_use_another_ready_sandbox() {
    let engine = builder(1).build().unwrap();
    let larger = Limits::new().with_memory_bytes(512 << 20);
    let evaluation = Evaluation::shell("true").with_limits(larger.clone());
    run(&engine, &evaluation).await;
    assert_eq!((engine.ready_sandbox_stats().hits, engine.ready_sandbox_stats().misses), (0, 1));
    until(&engine, "one sandbox of each size is ready", |stats| stats.ready == 2);
    run(&engine, &evaluation.with_limits(larger.with_wall(Duration::from_secs(3)))).await;
    assert_eq!((engine.ready_sandbox_stats().hits, engine.ready_sandbox_stats().misses), (1, 1));
}

/// A ready sandbox has the same layers as any other.
#[tokio::test]
async fn ready_sandbox_has_same_layers() {
    let engine = builder(1).build().unwrap();
    until(&engine, "a sandbox is ready", |stats| stats.ready == 1);
    let evaluation = Evaluation::shell("true");
    let warm = engine.run(&evaluation, &RunContext::new()).await.unwrap();
    assert_eq!(engine.ready_sandbox_stats().hits, 1);
    let cold = super::support::engine().run(&evaluation, &RunContext::new()).await.unwrap();
    let layers = |outcome: &crucible_core::Outcome| -> Vec<_> {
        let reports = outcome.enforcement.reports().iter();
        reports.map(|report| (report.layer, report.status)).collect()
    };
    assert_eq!(layers(&warm), layers(&cold));
}

/// A ready sandbox with a killed guest is not handed out. Only the statistics show it.
#[tokio::test]
async fn dead_ready_sandbox_is_not_handed_out() {
    if !has_cgroups() {
        // Without a group the test cannot identify the guest.
        return;
    }
    let engine = builder(1).build().unwrap();
    until(&engine, "a sandbox is ready", |stats| stats.ready == 1);
    let directories = cgroups(&engine);
    let began = Instant::now();
    // The guest joins its group after a moment, and the engine's trial sandbox may still be
    // closing.
    let mut seen = BTreeSet::new();
    let guest = loop {
        let before = std::mem::replace(&mut seen, members(&directories));
        if let (Some(guest), 1, true) = (seen.first(), seen.len(), seen == before) {
            break rustix::process::Pid::from_raw(*guest).unwrap();
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "no single guest in the groups: {seen:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    rustix::process::kill_process(guest, rustix::process::Signal::KILL).unwrap();
    while !members(&directories).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "the guest is alive");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(run(&engine, &Evaluation::shell("echo there")).await, "there\n");
    // Another sandbox may be ready by now.
    let stats = engine.ready_sandbox_stats();
    assert_eq!((stats.hits + stats.misses, stats.failed), (1, 1));
}

#[tokio::test]
async fn aged_ready_sandbox_is_closed() {
    let engine = builder(2).ready_age(Duration::from_millis(50)).build().unwrap();
    until(&engine, "both sandboxes are closed", |stats| stats.aged >= 2 && stats.ready == 0);
    if has_cgroups() {
        let began = Instant::now();
        while !members(&cgroups(&engine)).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20), "guests are alive");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    // The next run makes the engine open new ones.
    run(&engine, &Evaluation::shell("true")).await;
    until(&engine, "new sandboxes are ready", |stats| stats.made > 2);
}

/// A session can start in a ready sandbox.
#[tokio::test]
async fn session_uses_a_ready_sandbox() {
    let engine = builder(1).build().unwrap();
    until(&engine, "a sandbox is ready", |stats| stats.ready == 1);
    let sandbox = engine.open(SandboxSpec::new()).await.unwrap();
    let path = "here".try_into().unwrap();
    sandbox.write(&path, "content".into(), false).await.unwrap();
    assert_eq!(sandbox.read(&path, 100).await.unwrap(), "content");
    sandbox.close().await.unwrap();
    assert_eq!(engine.ready_sandbox_stats().hits, 1);
}

#[tokio::test]
async fn ready_sandboxes_end_with_the_engine() {
    let engine = builder(8).build().unwrap();
    until(&engine, "eight sandboxes are ready", |stats| stats.ready == 8);
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    drop(engine);
    assert!(members(&directories).is_empty());
    assert!(directories.iter().all(|directory| !directory.exists()), "{directories:?}");
}

#[test]
fn too_many_ready_sandboxes_are_refused() {
    let error = SubprocessEngine::builder().ready_sandboxes(129).build().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Invalid);
    assert!(
        crucible_core::error_chain(&error).contains("ready_sandboxes"),
        "{}",
        crucible_core::error_chain(&error)
    );
}
