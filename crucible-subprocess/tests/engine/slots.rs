//! Sandboxes that follow one another in a slot.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use crucible_conformance::attack::{AttackStatus, AttackSuite};
use crucible_core::{
    Engine, EngineError, EngineErrorKind, EngineInfo, Evaluation, Evidence, Limit, Limits, Outcome,
    RunContext, Sandbox, SandboxSpec, Verdict,
};
use crucible_subprocess::{ReadyStats, SlotSharing, SubprocessBuilder, SubprocessEngine};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::{cgroups, has_cgroups, members, not_for_this_user};

fn builder(slots: usize) -> SubprocessBuilder {
    let builder = SubprocessEngine::builder().slots(slots);
    not_for_this_user().iter().fold(builder, |builder, layer| builder.waive(*layer))
}

/// Gives the runtime time meanwhile: it is a task that brings a slot back.
async fn until(
    engine: &SubprocessEngine,
    what: &str,
    is_so: impl Fn(ReadyStats) -> bool,
) -> ReadyStats {
    let began = Instant::now();
    loop {
        let stats = engine.slot_stats();
        if is_so(stats) {
            return stats;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {stats:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn run(engine: &SubprocessEngine, evaluation: &Evaluation) -> Outcome {
    engine.run(evaluation, &RunContext::new()).await.unwrap()
}

/// Runs one when a slot waits for it, and says whether that was used.
async fn run_in_slot(engine: &SubprocessEngine, evaluation: &Evaluation) -> Outcome {
    until(engine, "one waits", |stats| stats.ready > 0).await;
    let before = engine.slot_stats().hits;
    let outcome = run(engine, evaluation).await;
    assert_eq!(engine.slot_stats().hits, before + 1, "{:?}", engine.slot_stats());
    outcome
}

/// What one leaves is not there for the next, and what it sees of itself is the same each time.
#[tokio::test]
async fn the_next_finds_nothing_of_the_one_before() {
    let engine = builder(1).build().unwrap();
    let leave = Evaluation::shell(
        "ls -A /tmp /box /dev/shm; set -- /proc/[0-9]*; echo $#; echo $$; hostname; cat /proc/self/cgroup; \
         grep -E 'Cap|NoNew|Seccomp|Uid|Gid|SigIgn|SigBlk' /proc/self/status; umask; ls -l /proc/self/fd | wc -l; \
         readlink /proc/self/ns/pid >&2; \
         echo mine > /tmp/left; echo mine > /box/left; (trap '' TERM HUP; sleep 1000) & disown 2>/dev/null; true",
    );
    let first = run_in_slot(&engine, &leave).await;
    assert!(first.is_success(), "{}", first.stderr.to_text());
    let mut namespaces = vec![first.stderr.to_text().into_owned()];
    for round in 1..20 {
        let outcome = run_in_slot(&engine, &leave).await;
        assert_eq!(outcome.stdout.to_text(), first.stdout.to_text(), "in round {round}");
        namespaces.push(outcome.stderr.to_text().into_owned());
    }
    let stats = engine.slot_stats();
    assert_eq!(
        (stats.made, stats.aged, stats.failed),
        (1, 0, 0),
        "it was the same slot all the time"
    );
    let count = namespaces.len();
    assert!(namespaces[0].starts_with("pid:["), "{namespaces:?}");
    namespaces.dedup();
    assert!(namespaces.len() > count / 2, "one after the other in one namespace: {namespaces:?}");
}

/// Its layers, its verdicts and what it counts are those of any other sandbox.
#[tokio::test]
async fn it_is_as_closed_and_as_well_counted_as_any_other() {
    let engine = builder(1).build().unwrap();
    let cold = super::support::engine();
    let burns = "
import os
end = os.times().user + 0.2
while os.times().user < end: pass
held = bytearray(os.urandom(4096)) * (20 * 256)
children = [os.fork() for _ in range(1)]
if children == [0]: os._exit(0)
os.wait()";
    let burns = Evaluation::python(burns);
    let small = Evaluation::shell("true");
    // Others before it, whose counts are none of its own.
    for evaluation in [&small, &burns, &small, &burns, &small] {
        let (warm, cold) = (run_in_slot(&engine, evaluation).await, run(&cold, evaluation).await);
        assert_eq!(
            (warm.verdict(), cold.verdict()),
            (&Verdict::Exited { code: 0 }, &Verdict::Exited { code: 0 })
        );
        let layers = |outcome: &Outcome| -> Vec<_> {
            let reports = outcome.enforcement.reports().iter();
            reports.map(|report| (report.layer, report.status)).collect()
        };
        assert_eq!(layers(&warm), layers(&cold));
        assert_eq!(warm.usage.processes_peak, cold.usage.processes_peak);
        let cpu = |outcome: &Outcome| outcome.usage.cpu_user + outcome.usage.cpu_system;
        let (warm_cpu, cold_cpu) = (cpu(&warm), cpu(&cold));
        // A busy machine is slower one time than another.
        let slack = cold_cpu / 2 + Duration::from_millis(20);
        assert!(warm_cpu.abs_diff(cold_cpu) < slack, "{warm_cpu:?} {cold_cpu:?}");
        if has_cgroups() {
            let mib = |outcome: &Outcome| outcome.usage.memory_peak_bytes.unwrap() >> 20;
            assert!(mib(&warm).abs_diff(mib(&cold)) < 8, "{} {}", mib(&warm), mib(&cold));
        }
    }
}

/// After whatever was not as it should be, a slot is ended; the verdict is what it would be otherwise.
#[tokio::test]
async fn after_a_limit_or_a_violation_it_is_another_slot() {
    let engine = builder(1).build().unwrap();
    let limits =
        Limits::new().with_wall(Duration::from_millis(300)).with_cpu(Duration::from_secs(20));
    let too_long = Evaluation::shell("sleep 1000").with_limits(limits.clone());
    for round in 1..4 {
        let outcome = run_in_slot(&engine, &too_long).await;
        assert_eq!(*outcome.verdict(), Verdict::LimitExceeded { limit: Limit::Wall });
        until(&engine, "it is given up", |stats| stats.aged == round).await;
    }
    let mounts = Evaluation::python(
        "import ctypes, os\nprint(ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None))",
    );
    let outcome = run_in_slot(&engine, &mounts).await;
    let is_violation =
        |fact: &Evidence| matches!(fact, Evidence::Violation { what } if what.contains("mount"));
    if outcome.evidence().iter().any(is_violation) {
        until(&engine, "it is given up", |stats| stats.aged == 4).await;
    }
    let fine = run_in_slot(&engine, &Evaluation::shell("echo fine")).await;
    assert_eq!(fine.stdout.to_text(), "fine\n");
}

#[tokio::test]
async fn a_slot_is_ended_after_many_sandboxes() {
    let engine = builder(1).build().unwrap();
    let evaluation = Evaluation::command(["/bin/true"]);
    until(&engine, "one waits", |stats| stats.ready == 1).await;
    for _ in 0..1100 {
        assert!(run(&engine, &evaluation).await.is_success());
    }
    let stats = until(&engine, "one waits again", |stats| stats.ready == 1).await;
    let expected = 1 + stats.hits / 1000;
    assert_eq!((stats.made, stats.aged), (expected, expected - 1), "{stats:?}");
}

#[tokio::test]
async fn where_tenants_do_not_share_each_has_slots_of_its_own() {
    let engine = builder(1).slot_sharing(SlotSharing::Tenant).build().unwrap();
    let of = |tenant: &str| Evaluation::shell("echo fine").with_tenant(tenant);
    for _ in 0..3 {
        run_in_slot(&engine, &of("a")).await;
    }
    assert_eq!(engine.slot_stats().made, 1);
    until(&engine, "one waits", |stats| stats.ready == 1).await;
    // It is not this tenant's: the evaluation has a sandbox of its own, and a new slot is made.
    assert!(run(&engine, &of("b")).await.is_success());
    let stats = until(&engine, "another waits", |stats| stats.made == 2 && stats.ready == 1).await;
    assert_eq!((stats.hits, stats.misses, stats.aged), (3, 1, 1));
    run_in_slot(&engine, &of("b")).await;
    assert_eq!(engine.slot_stats().made, 2);
}

/// One whose process was killed meanwhile is none, and nobody notices but the count.
#[tokio::test]
async fn one_that_has_died_is_not_handed_out() {
    let engine = builder(1).build().unwrap();
    until(&engine, "one waits", |stats| stats.ready == 1).await;
    // It is ready as soon as there is a process, which then gives itself its name.
    let began = Instant::now();
    let slots = loop {
        let slots = processes_named("crucible-slot");
        if !slots.is_empty() {
            break slots;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it has no name");
        std::thread::sleep(Duration::from_millis(2));
    };
    for slot in &slots {
        rustix::process::kill_process(*slot, rustix::process::Signal::KILL).unwrap();
    }
    let began = Instant::now();
    while slots.iter().any(|slot| rustix::process::test_kill_process(*slot).is_ok()) {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not die");
        std::thread::sleep(Duration::from_millis(2));
    }
    // Its guest ends after it.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(run(&engine, &Evaluation::shell("echo there")).await.stdout.to_text(), "there\n");
    // Another may have been made by then.
    let stats = engine.slot_stats();
    assert_eq!((stats.hits + stats.misses, stats.failed), (1, 1));
    run_in_slot(&engine, &Evaluation::shell("true")).await;
}

/// The children of this process's spawners that have this name.
fn processes_named(name: &str) -> Vec<rustix::process::Pid> {
    let status = |pid: &str, key: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    };
    let own = std::process::id().to_string();
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_ours = |pid: &String| {
        status(pid, "Name").as_deref() == Some(name)
            && status(pid, "PPid").and_then(|spawner| status(&spawner, "PPid")) == Some(own.clone())
    };
    pids.filter(is_ours)
        .filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?))
        .collect()
}

#[tokio::test]
async fn one_that_has_waited_too_long_is_ended_and_with_the_engine_all_are() {
    let engine = builder(2).ready_age(Duration::from_millis(50)).build().unwrap();
    until(&engine, "both are given up", |stats| stats.aged >= 2 && stats.ready == 0).await;
    let began = Instant::now();
    while !processes_named("crucible-slot").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "they live on");
        std::thread::sleep(Duration::from_millis(2));
    }
    let engine = builder(8).build().unwrap();
    until(&engine, "eight wait", |stats| stats.ready == 8).await;
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    drop(engine);
    assert!(processes_named("crucible-slot").is_empty());
    assert!(members(&directories).is_empty());
    assert!(directories.iter().all(|directory| !directory.exists()), "{directories:?}");
}

/// A runtime that ends in between takes no slot with it that anybody waits for.
#[test]
fn a_runtime_that_ends_loses_nothing() {
    let engine = builder(2).build().unwrap();
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(run(&engine, &Evaluation::shell("true"))).is_success());
        drop(runtime);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until(&engine, "both wait", |stats| stats.ready == 2));
    if has_cgroups() {
        // A slot is in none of its sandboxes' groups: those that wait have a guest each.
        let began = Instant::now();
        while members(&cgroups(&engine)).len() > 2 {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", members(&cgroups(&engine)));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn there_is_a_most() {
    let error = SubprocessEngine::builder().slots(129).build().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Invalid);
    assert!(
        crucible_core::error_chain(&error).contains("slots"),
        "{}",
        crucible_core::error_chain(&error)
    );
}

/// An engine that runs everything in the one slot that it has for each size, and nothing of interest in the first of its sandboxes.
#[derive(Debug)]
struct InSlots {
    engine: SubprocessEngine,
    runs: AtomicU64,
    hits: AtomicU64,
}

#[async_trait]
impl Engine for InSlots {
    fn info(&self) -> EngineInfo {
        self.engine.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        self.engine.open(spec).await
    }

    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        let nothing = Evaluation::command(["/bin/true"]).with_limits(evaluation.limits.clone());
        let hits = || self.engine.slot_stats().hits;
        for _ in 0..1000 {
            let before = hits();
            self.engine.run(&nothing, &RunContext::new()).await?;
            let are_back =
                |stats: ReadyStats| stats.ready + stats.aged + stats.failed == stats.made;
            until(&self.engine, "all slots wait", are_back).await;
            if hits() > before {
                break;
            }
        }
        let before = hits();
        let outcome = self.engine.run(evaluation, context).await;
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.hits.fetch_add(hits() - before, Ordering::Relaxed);
        outcome
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.engine.health().await
    }
}

/// The whole suite of attacks, each in a slot that was used before; those that come again find nothing of themselves.
#[test]
fn every_attack_is_blocked_in_a_used_slot() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let plain = SubprocessEngine::builder().slots(1);
    let engine = not_for_this_user()
        .iter()
        .fold(plain, |builder, layer| builder.waive(*layer))
        .build()
        .unwrap();
    let in_slots = Arc::new(InSlots { engine, runs: AtomicU64::new(0), hits: AtomicU64::new(0) });
    let shared = Arc::clone(&in_slots);
    let suite = AttackSuite::new(move |without| {
        if without.is_empty() {
            let engine: Arc<dyn Engine> = shared.clone();
            return Ok(engine);
        }
        let layers = without.iter().chain(not_for_this_user());
        let builder =
            layers.fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
        Ok(Arc::new(builder.build()?))
    })
    .unwrap();
    let report = runtime.block_on(suite.run(|_| {})).unwrap();
    let red: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| {
            !matches!(finding.status, AttackStatus::Blocked | AttackStatus::NotCovered)
        })
        .map(ToString::to_string)
        .collect();
    assert!(report.is_green(), "{report}:\n{}", red.join("\n"));
    let (runs, hits) =
        (in_slots.runs.load(Ordering::Relaxed), in_slots.hits.load(Ordering::Relaxed));
    // Those with an allow-list never are.
    assert!(
        hits * 10 >= runs * 9,
        "{hits} of {runs} were in a slot: {:?}",
        in_slots.engine.slot_stats()
    );
}
