//! Tests of slots, in which sandboxes follow one another.

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

use super::support::{cgroups, descendants, has_cgroups, members, unavailable_layers};

fn builder(slots: usize) -> SubprocessBuilder {
    let builder = SubprocessEngine::builder().slots(slots);
    unavailable_layers().iter().fold(builder, |builder, layer| builder.waive(*layer))
}

/// Waits until the statistics meet a condition. It yields to the runtime, because a task returns
/// slots.
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

/// Waits for a ready slot, runs an evaluation, and asserts that it used the slot.
async fn run_in_slot(engine: &SubprocessEngine, evaluation: &Evaluation) -> Outcome {
    until(engine, "a slot is ready", |stats| stats.ready > 0).await;
    let before = engine.slot_stats().hits;
    let outcome = run(engine, evaluation).await;
    assert_eq!(engine.slot_stats().hits, before + 1, "{:?}", engine.slot_stats());
    outcome
}

/// A sandbox in a slot finds nothing of the previous one, and sees the same environment each time.
#[tokio::test]
async fn next_sandbox_in_slot_starts_empty() {
    let engine = builder(1).build().unwrap();
    let leave = Evaluation::shell(
        "ls -A /tmp /box /dev/shm; set -- /proc/[0-9]*; echo $#; echo $$; hostname; \
         cat /proc/self/cgroup; \
         grep -E 'Cap|NoNew|Seccomp|Uid|Gid|SigIgn|SigBlk' /proc/self/status; umask; \
         ls -l /proc/self/fd | wc -l; \
         readlink /proc/self/ns/pid >&2; \
         echo mine > /tmp/left; echo mine > /box/left; \
         (trap '' TERM HUP; sleep 1000) & disown 2>/dev/null; true",
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
    assert_eq!((stats.made, stats.aged, stats.failed), (1, 0, 0), "all runs used the same slot");
    let count = namespaces.len();
    assert!(namespaces[0].starts_with("pid:["), "{namespaces:?}");
    namespaces.dedup();
    assert!(namespaces.len() > count / 2, "sandboxes share a PID namespace: {namespaces:?}");
}

/// A sandbox in a slot has the same layers, verdicts, and counts as any other.
#[tokio::test]
async fn sandbox_in_slot_has_same_layers_and_counts() {
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
    // The counts of earlier sandboxes in the slot must not be included.
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
        // CPU time varies on a busy machine.
        let slack = cold_cpu / 2 + Duration::from_millis(20);
        assert!(warm_cpu.abs_diff(cold_cpu) < slack, "{warm_cpu:?} {cold_cpu:?}");
        if has_cgroups() {
            let mib = |outcome: &Outcome| outcome.usage.memory_peak_bytes.unwrap() >> 20;
            assert!(mib(&warm).abs_diff(mib(&cold)) < 8, "{} {}", mib(&warm), mib(&cold));
        }
    }
}

/// A limit or a violation retires the slot. The verdict is the same as without a slot.
#[tokio::test]
async fn limit_or_violation_retires_slot() {
    let engine = builder(1).build().unwrap();
    let limits =
        Limits::new().with_wall(Duration::from_millis(300)).with_cpu(Duration::from_secs(20));
    let too_long = Evaluation::shell("sleep 1000").with_limits(limits.clone());
    for round in 1..4 {
        let outcome = run_in_slot(&engine, &too_long).await;
        assert_eq!(*outcome.verdict(), Verdict::LimitExceeded { limit: Limit::Wall });
        until(&engine, "the slot is retired", |stats| stats.aged == round).await;
    }
    let mounts = Evaluation::python(
        "import ctypes, os\nprint(ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None))",
    );
    let outcome = run_in_slot(&engine, &mounts).await;
    let is_violation =
        |fact: &Evidence| matches!(fact, Evidence::Violation { what } if what.contains("mount"));
    if outcome.evidence().iter().any(is_violation) {
        until(&engine, "the slot is retired", |stats| stats.aged == 4).await;
    }
    let fine = run_in_slot(&engine, &Evaluation::shell("echo fine")).await;
    assert_eq!(fine.stdout.to_text(), "fine\n");
}

#[tokio::test]
async fn slot_is_retired_after_many_sandboxes() {
    let engine = builder(1).build().unwrap();
    let evaluation = Evaluation::command(["/bin/true"]);
    until(&engine, "a slot is ready", |stats| stats.ready == 1).await;
    for _ in 0..1100 {
        assert!(run(&engine, &evaluation).await.is_success());
    }
    let stats = until(&engine, "a slot is ready again", |stats| stats.ready == 1).await;
    let expected = 1 + stats.hits / 1000;
    assert_eq!((stats.made, stats.aged), (expected, expected - 1), "{stats:?}");
}

#[tokio::test]
async fn tenants_without_sharing_have_their_own_slots() {
    let engine = builder(1).slot_sharing(SlotSharing::Tenant).build().unwrap();
    let of = |tenant: &str| Evaluation::shell("echo fine").with_tenant(tenant);
    for _ in 0..3 {
        run_in_slot(&engine, &of("a")).await;
    }
    assert_eq!(engine.slot_stats().made, 1);
    until(&engine, "a slot is ready", |stats| stats.ready == 1).await;
    // The slot belongs to another tenant: the evaluation gets its own sandbox, and a new slot is
    // made.
    assert!(run(&engine, &of("b")).await.is_success());
    let stats =
        until(&engine, "another slot is ready", |stats| stats.made == 2 && stats.ready == 1).await;
    assert_eq!((stats.hits, stats.misses, stats.aged), (3, 1, 1));
    run_in_slot(&engine, &of("b")).await;
    assert_eq!(engine.slot_stats().made, 2);
}

/// A slot with a killed process is not handed out. Only the statistics show it.
#[tokio::test]
async fn dead_slot_is_not_handed_out() {
    let engine = builder(1).build().unwrap();
    until(&engine, "a slot is ready", |stats| stats.ready == 1).await;
    // A slot is ready as soon as its process exists. The process sets its name afterwards.
    let began = Instant::now();
    let slots = loop {
        let slots = processes_named("crucible-slot");
        if !slots.is_empty() {
            break slots;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the slot has no name");
        std::thread::sleep(Duration::from_millis(2));
    };
    // The slot's guest is its child, and ends after it.
    let mut family = Vec::new();
    for slot in &slots {
        let guests = descendants(slot.as_raw_nonzero().get());
        family.extend(guests);
        rustix::process::kill_process(*slot, rustix::process::Signal::KILL).unwrap();
    }
    let began = Instant::now();
    while family.iter().any(|pid| is_alive(*pid)) {
        assert!(began.elapsed() < Duration::from_secs(20), "the slot is alive");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(run(&engine, &Evaluation::shell("echo there")).await.stdout.to_text(), "there\n");
    // A new slot may exist by now.
    let stats = engine.slot_stats();
    assert_eq!((stats.hits + stats.misses, stats.failed), (1, 1));
    run_in_slot(&engine, &Evaluation::shell("true")).await;
}

/// Returns `true` unless the process has ended. Its parent may not have reaped it yet.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// Returns the children of this process's spawners with this name.
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
async fn aged_slots_and_slots_of_dropped_engine_end() {
    let engine = builder(2).ready_age(Duration::from_millis(50)).build().unwrap();
    until(&engine, "both slots are retired", |stats| stats.aged >= 2 && stats.ready == 0).await;
    let began = Instant::now();
    while !processes_named("crucible-slot").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "slots are alive");
        std::thread::sleep(Duration::from_millis(2));
    }
    let engine = builder(8).build().unwrap();
    until(&engine, "eight slots are ready", |stats| stats.ready == 8).await;
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    drop(engine);
    assert!(processes_named("crucible-slot").is_empty());
    assert!(members(&directories).is_empty());
    assert!(directories.iter().all(|directory| !directory.exists()), "{directories:?}");
}

/// Slots survive the end of the runtime in which they ran.
#[test]
fn ended_runtime_loses_no_slot() {
    let engine = builder(2).build().unwrap();
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(run(&engine, &Evaluation::shell("true"))).is_success());
        drop(runtime);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until(&engine, "both slots are ready", |stats| stats.ready == 2));
    if has_cgroups() {
        // A slot is not in its sandboxes' groups. Each ready slot has one guest.
        let began = Instant::now();
        while members(&cgroups(&engine)).len() > 2 {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", members(&cgroups(&engine)));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn too_many_slots_are_refused() {
    let error = SubprocessEngine::builder().slots(129).build().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Invalid);
    assert!(
        crucible_core::error_chain(&error).contains("slots"),
        "{}",
        crucible_core::error_chain(&error)
    );
}

/// An engine that runs every evaluation in a used slot: for each size it has one slot, and it runs
/// a trivial program in it first.
#[derive(Debug)]
struct UsedSlotEngine {
    engine: SubprocessEngine,
    runs: AtomicU64,
    hits: AtomicU64,
}

#[async_trait]
impl Engine for UsedSlotEngine {
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
            until(&self.engine, "all slots are ready", are_back).await;
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

/// Runs the attack suite in used slots. Attacks that run twice find nothing of their first run.
#[test]
fn every_attack_is_blocked_in_a_used_slot() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let plain = SubprocessEngine::builder().slots(1);
    let engine = unavailable_layers()
        .iter()
        .fold(plain, |builder, layer| builder.waive(*layer))
        .build()
        .unwrap();
    let in_slots =
        Arc::new(UsedSlotEngine { engine, runs: AtomicU64::new(0), hits: AtomicU64::new(0) });
    let shared = Arc::clone(&in_slots);
    let suite = AttackSuite::new(move |without| {
        if without.is_empty() {
            let engine: Arc<dyn Engine> = shared.clone();
            return Ok(engine);
        }
        let layers = without.iter().chain(unavailable_layers());
        let builder =
            layers.fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
        Ok(Arc::new(builder.build()?))
    })
    .unwrap();
    let report = runtime.block_on(suite.run(|_| {})).unwrap();
    let failures: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| {
            !matches!(finding.status, AttackStatus::Blocked | AttackStatus::NotCovered)
        })
        .map(ToString::to_string)
        .collect();
    assert!(report.is_green(), "{report}:\n{}", failures.join("\n"));
    let (runs, hits) =
        (in_slots.runs.load(Ordering::Relaxed), in_slots.hits.load(Ordering::Relaxed));
    // Evaluations with an allow-list never use a slot.
    assert!(
        hits * 10 >= runs * 9,
        "{hits} of {runs} were in a slot: {:?}",
        in_slots.engine.slot_stats()
    );
}
