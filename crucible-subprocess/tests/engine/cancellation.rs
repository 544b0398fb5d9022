//! Tests that abandon a run at every await point, by dropping and by cancelling it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::support::{cgroups, descendants, engine, eventually, has_cgroups, members, open_files};
use crucible_core::{
    Collect, Engine as _, EngineError, Evaluation, Limits, Outcome, OutputSink, RunContext, Verdict,
};
use crucible_subprocess::SubprocessEngine;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

/// A future that is polled a number of times, with an action before each further poll.
struct ActAfterPolls<F, A> {
    future: F,
    polls: u32,
    action: A,
}

impl<F: Future + Unpin, A: FnMut() -> bool + Unpin> Future for ActAfterPolls<F, A> {
    /// `None` if the action ended the future.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            if (self.action)() {
                return Poll::Ready(None);
            }
        } else {
            self.polls -= 1;
        }
        Pin::new(&mut self.future).poll(context).map(Some)
    }
}

/// Returns evaluations that use different parts of a run, and their verdicts without interference.
fn evaluations() -> Vec<(Evaluation, Verdict)> {
    let limits = Limits::new().with_wall(Duration::from_secs(30));
    let exited = |code| Verdict::Exited { code };
    vec![
        (Evaluation::shell("exit 3"), exited(3)),
        (
            Evaluation::shell("cat; sleep 0.02; echo done").with_stdin(vec![b'x'; 200_000]),
            exited(0),
        ),
        (
            Evaluation::shell("echo out > a; echo b > b; sleep 1000 & exit 0")
                .with_file("in/deep", vec![0; 600_000])
                .with_collect(Collect::matching(["*"])),
            exited(0),
        ),
        (Evaluation::source("c", "int main(void) { return 4; }"), exited(4)),
        (Evaluation::command(["/no/such/program"]), not_started()),
    ]
    .into_iter()
    .map(|(evaluation, verdict)| {
        // A compiler can take long on a slow machine.
        let compile = Limits::for_compiling()
            .with_wall(Duration::from_secs(60))
            .with_cpu(Duration::from_secs(60));
        (evaluation.with_limits(limits.clone()).with_compile_limits(compile), verdict)
    })
    .collect()
}

fn not_started() -> Verdict {
    Verdict::NotStarted { reason: crucible_core::NotStartedReason::NoSuchProgram }
}

async fn abandon(
    engine: &SubprocessEngine,
    evaluation: &Evaluation,
    polls: u32,
    by_dropping: bool,
) -> Option<Result<Outcome, EngineError>> {
    let cancel = CancellationToken::new();
    let context = RunContext::new()
        .with_cancel(cancel.clone())
        .with_output(OutputSink::none().with_watcher(|_| {}));
    let run = pin!(engine.run(evaluation, &context));
    let action = || {
        cancel.cancel();
        by_dropping
    };
    ActAfterPolls { future: run, polls, action }.await
}

/// Returns the number of polls of a run: the maximum of several runs, plus two.
async fn polls_of(engine: &SubprocessEngine, evaluation: &Evaluation) -> u32 {
    let mut most = 0;
    for _ in 0..5 {
        let mut polls = 0;
        let context = RunContext::new();
        let mut run = pin!(engine.run(evaluation, &context));
        std::future::poll_fn(|context| {
            polls += 1;
            run.as_mut().poll(context)
        })
        .await
        .unwrap();
        most = most.max(polls);
    }
    most + 2
}

fn assert_nothing_remains(engine: &SubprocessEngine, files: usize) {
    if has_cgroups() {
        let directories = cgroups(engine);
        eventually(Duration::from_secs(10), "processes in the engine's cgroups", || {
            let found = members(&directories);
            if found.is_empty() { Ok(()) } else { Err(found) }
        });
    }
    eventually(Duration::from_secs(10), "processes", || {
        // This process and the spawner.
        let found = descendants(i32::try_from(std::process::id()).unwrap());
        if found.len() == 2 { Ok(()) } else { Err(found) }
    });
    // The number of ready groups and namespaces varies by a few descriptors.
    eventually(Duration::from_secs(10), "descriptors", || {
        let found = open_files();
        if found <= files + 40 { Ok(()) } else { Err(found) }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Abandons each kind of run at each await point, once by dropping and once by cancelling.
#[test]
fn run_abandoned_at_any_await_point_leaves_nothing() {
    let (runtime, engine) = (runtime(), engine());
    runtime.block_on(async {
        let files = open_files();
        for (evaluation, verdict) in evaluations() {
            for polls in 0..polls_of(&engine, &evaluation).await {
                for by_dropping in [true, false] {
                    let result = abandon(&engine, &evaluation, polls, by_dropping).await;
                    check(result, &verdict, by_dropping, polls);
                }
            }
            assert_nothing_remains(&engine, files);
        }
        let outcome = engine.run(&Evaluation::shell("exit 9"), &RunContext::new()).await.unwrap();
        assert_eq!(*outcome.verdict(), Verdict::Exited { code: 9 });
    });
}

/// Killing a guest during its setup affects neither the spawner nor other sandboxes.
#[test]
fn sandbox_abandoned_during_setup_affects_no_other() {
    let (runtime, engine) = (runtime(), engine());
    runtime.block_on(async {
        let sandbox = engine.open(crucible_core::SandboxSpec::new()).await.unwrap();
        for round in 0..40 {
            let run =
                abandon(&engine, &Evaluation::command(["sleep", "1000"]), 1 + round % 4, true)
                    .await;
            assert!(run.is_none(), "a sandbox was lost");
            std::thread::sleep(Duration::from_micros(u64::from(round) * 50));
        }
        let command = crucible_core::Command::new(["sh", "-c", "exit 7"]);
        let exit = sandbox.exec(&command, crucible_core::ExecOptions::new()).await.unwrap();
        assert_eq!(exit.verdict(), Verdict::Exited { code: 7 });
    });
}

fn check(
    result: Option<Result<Outcome, EngineError>>,
    verdict: &Verdict,
    by_dropping: bool,
    polls: u32,
) {
    match result {
        // The run was dropped.
        None => assert!(by_dropping),
        Some(Ok(outcome)) => {
            let expected = [&Verdict::Cancelled, verdict];
            assert!(
                expected.contains(&outcome.verdict()),
                "{} after {polls} polls",
                outcome.verdict()
            );
        }
        Some(Err(error)) => panic!("{} after {polls} polls", crucible_core::error_chain(&error)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Abandons several concurrent runs at random await points, in a multi-threaded runtime.
    #[test]
    fn runs_abandoned_at_random_leave_nothing(
        plan in proptest::collection::vec((0..5_usize, 0..40_u32, 0..30_u64, any::<bool>()), 1..5),
    ) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let engine = shared_engine();
        runtime.block_on(async {
            let mut runs = tokio::task::JoinSet::new();
            for (kind, polls, wait, by_dropping) in plan {
                runs.spawn(async move {
                    let (evaluation, verdict) = evaluations().swap_remove(kind);
                    let run = abandon(engine, &evaluation, polls, by_dropping);
                    // Also drops the run after a time, while it waits.
                    let deadline = Duration::from_millis(200 + wait);
                    let result = match tokio::time::timeout(deadline, run).await {
                        Ok(result) => result,
                        Err(_) => return,
                    };
                    check(result, &verdict, by_dropping, polls);
                });
            }
            while let Some(run) = runs.join_next().await {
                run.unwrap();
            }
        });
        drop(runtime);
        assert_nothing_remains(engine, 64);
    }
}

fn shared_engine() -> &'static SubprocessEngine {
    static ENGINE: std::sync::OnceLock<SubprocessEngine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(engine)
}
