//! Sandboxes that are opened before anybody asks for them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crucible_core::{
    Engine as _, EngineErrorKind, Evaluation, Limits, RunContext, SandboxSpec, Verdict,
};
use crucible_subprocess::{ReadyStats, SubprocessBuilder, SubprocessEngine};

use super::support::{cgroups, has_cgroups, members, not_for_this_user};

fn preopening(count: usize) -> SubprocessBuilder {
    let builder = SubprocessEngine::builder().ready_sandboxes(count);
    not_for_this_user().iter().fold(builder, |builder, layer| builder.waive(*layer))
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
async fn each_is_used_once_and_another_takes_its_place() {
    let engine = preopening(2).build().unwrap();
    until(&engine, "two wait", |stats| stats.ready == 2);
    let leave = Evaluation::shell(
        "ls -A /tmp /box /dev/shm; echo mine > /tmp/left; echo $$; echo mine > /box/left",
    );
    let first = run(&engine, &leave).await;
    for round in 1..20 {
        until(&engine, "two wait again", |stats| stats.ready == 2);
        assert_eq!(run(&engine, &leave).await, first, "in round {round}");
    }
    let stats = engine.ready_sandbox_stats();
    assert_eq!((stats.hits, stats.misses, stats.failed), (20, 0, 0));
}

/// With other limits it is another sandbox; those that concern a command alone make no difference.
#[tokio::test]
async fn one_of_another_size_is_opened_first() {
    let engine = preopening(1).build().unwrap();
    let larger = Limits::new().with_memory_bytes(512 << 20);
    let evaluation = Evaluation::shell("true").with_limits(larger.clone());
    run(&engine, &evaluation).await;
    assert_eq!((engine.ready_sandbox_stats().hits, engine.ready_sandbox_stats().misses), (0, 1));
    until(&engine, "one of each waits", |stats| stats.ready == 2);
    run(&engine, &evaluation.with_limits(larger.with_wall(Duration::from_secs(3)))).await;
    assert_eq!((engine.ready_sandbox_stats().hits, engine.ready_sandbox_stats().misses), (1, 1));
}

/// What the host is told of such a sandbox is what it is told of every other.
#[tokio::test]
async fn it_is_as_closed_as_any_other() {
    let engine = preopening(1).build().unwrap();
    until(&engine, "one waits", |stats| stats.ready == 1);
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

/// One whose guest was killed meanwhile is none, and nobody notices but the count.
#[tokio::test]
async fn one_that_has_died_is_not_handed_out() {
    if !has_cgroups() {
        // Without a group its guest cannot be told from others'.
        return;
    }
    let engine = preopening(1).build().unwrap();
    until(&engine, "one waits", |stats| stats.ready == 1);
    let directories = cgroups(&engine);
    let began = Instant::now();
    // It joins its group in a moment, and the one that the engine was tried out with may still be ending in another.
    let mut seen = BTreeSet::new();
    let guest = loop {
        let before = std::mem::replace(&mut seen, members(&directories));
        if let (Some(guest), 1, true) = (seen.first(), seen.len(), seen == before) {
            break rustix::process::Pid::from_raw(*guest).unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nobody waits: {seen:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    rustix::process::kill_process(guest, rustix::process::Signal::KILL).unwrap();
    while !members(&directories).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "it lives on");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(run(&engine, &Evaluation::shell("echo there")).await, "there\n");
    // Another may have been opened by then.
    let stats = engine.ready_sandbox_stats();
    assert_eq!((stats.hits + stats.misses, stats.failed), (1, 1));
}

#[tokio::test]
async fn one_that_has_waited_too_long_is_closed() {
    let engine = preopening(2).ready_age(Duration::from_millis(50)).build().unwrap();
    until(&engine, "both are given up", |stats| stats.aged >= 2 && stats.ready == 0);
    if has_cgroups() {
        let began = Instant::now();
        while !members(&cgroups(&engine)).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20), "they live on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    // Whoever asks has them again.
    run(&engine, &Evaluation::shell("true")).await;
    until(&engine, "they are opened again", |stats| stats.made > 2);
}

/// A session gets one too, with its files.
#[tokio::test]
async fn a_session_begins_in_one() {
    let engine = preopening(1).build().unwrap();
    until(&engine, "one waits", |stats| stats.ready == 1);
    let sandbox = engine.open(SandboxSpec::new()).await.unwrap();
    let path = "here".try_into().unwrap();
    sandbox.write(&path, "content".into(), false).await.unwrap();
    assert_eq!(sandbox.read(&path, 100).await.unwrap(), "content");
    sandbox.close().await.unwrap();
    assert_eq!(engine.ready_sandbox_stats().hits, 1);
}

#[tokio::test]
async fn with_the_engine_they_end() {
    let engine = preopening(8).build().unwrap();
    until(&engine, "eight wait", |stats| stats.ready == 8);
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    drop(engine);
    assert!(members(&directories).is_empty());
    assert!(directories.iter().all(|directory| !directory.exists()), "{directories:?}");
}

#[test]
fn there_is_a_most() {
    let error = SubprocessEngine::builder().ready_sandboxes(129).build().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Invalid);
    assert!(
        crucible_core::error_chain(&error).contains("ready_sandboxes"),
        "{}",
        crucible_core::error_chain(&error)
    );
}
