//! Verdicts under load: many parallel programs with known endings.

use std::collections::BTreeMap;
use std::time::Duration;

use crucible::engine::RunContext;
use crucible::model::{Limit, Signal};
use crucible::{Engine as _, Evaluation, Limits, SubprocessEngine, Verdict};
use futures::StreamExt as _;
use tokio::runtime::Runtime;

use crate::report::{Report, Table};
use crate::scale::Scale;

/// Parallel runs. Verdicts are hardest to get right when processors are overcommitted.
const AT_ONCE: usize = 16;
/// Ordinary runs per run with a special ending.
const ORDINARY: usize = 10;

/// The name of an ending, a program with this ending, and the check of its verdict.
type Known = (&'static str, Evaluation, fn(&Verdict) -> bool);

/// Returns the programs and the checks of their verdicts.
fn known() -> Vec<Known> {
    let mib = 1 << 20;
    let limits =
        || Limits::new().with_wall(Duration::from_secs(30)).with_cpu(Duration::from_secs(20));
    let shell = |script: &str, limits: Limits| Evaluation::shell(script).with_limits(limits);
    vec![
        ("a status", shell("exit 37", limits()), |verdict| {
            *verdict == Verdict::Exited { code: 37 }
        }),
        ("a segmentation fault", shell("kill -SEGV $$", limits()), |verdict| {
            *verdict == Verdict::Signaled { signal: Signal::SEGV }
        }),
        ("killed by itself", shell("kill -KILL $$", limits()), |verdict| {
            *verdict == Verdict::Signaled { signal: Signal::KILL }
        }),
        (
            "too much memory",
            shell("head -c 300m /dev/zero | tail", limits().with_memory_bytes(64 * mib)),
            |verdict| *verdict == Verdict::LimitExceeded { limit: Limit::Memory },
        ),
        (
            "too long",
            shell("sleep 60", limits().with_wall(Duration::from_millis(300))),
            |verdict| *verdict == Verdict::LimitExceeded { limit: Limit::Wall },
        ),
        (
            "too much CPU",
            shell("while :; do :; done", limits().with_cpu(Duration::from_millis(100))),
            |verdict| *verdict == Verdict::LimitExceeded { limit: Limit::Cpu },
        ),
        ("too much output", shell("yes", limits().with_output_bytes(1 << 16)), |verdict| {
            *verdict == Verdict::LimitExceeded { limit: Limit::Output }
        }),
        (
            "a full disk",
            shell("cat /dev/zero > /tmp/full", limits().with_disk_bytes(mib)),
            |verdict| *verdict == Verdict::LimitExceeded { limit: Limit::Disk },
        ),
        (
            "too many processes",
            shell("bomb() { bomb | bomb & }; bomb; sleep 1", limits().with_processes(16)),
            |verdict| *verdict == Verdict::LimitExceeded { limit: Limit::Processes },
        ),
        (
            "no program",
            Evaluation::command(["/no/such/program"]).with_limits(limits()),
            |verdict| matches!(verdict, Verdict::NotStarted { .. }),
        ),
    ]
}

/// Counts the wrong verdicts of many parallel runs.
pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = SubprocessEngine::builder().ready_sandboxes(4).build().expect("an engine");
    let ordinary: Known = ("ordinary", Evaluation::shell("echo fine"), Verdict::is_success);
    let known = known();
    let runs = (0..scale.verdicts).map(|number| {
        let (name, evaluation, is_right) = match number % (ORDINARY + known.len()) {
            index if index < ORDINARY => &ordinary,
            index => &known[index - ORDINARY],
        };
        let (engine, evaluation) = (engine.clone(), evaluation.clone());
        async move {
            let run =
                tokio::spawn(async move { engine.run(&evaluation, &RunContext::new()).await });
            let verdict = match run.await.expect("no panic") {
                Ok(outcome) => outcome.verdict().clone(),
                Err(error) => return (*name, Some(crucible::model::error_chain(&error))),
            };
            (*name, (!is_right(&verdict)).then(|| verdict.to_string()))
        }
    });
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    runtime.block_on(async {
        let mut runs = futures::stream::iter(runs).buffer_unordered(AT_ONCE);
        while let Some((name, wrong)) = runs.next().await {
            let (count, wrongs) = tally.entry(name).or_default();
            *count += 1;
            if let Some(verdict) = wrong {
                *wrongs += 1;
                eprintln!("wrong: {name}: {verdict}");
            }
        }
    });
    let wrong: usize = tally.values().map(|(_, wrong)| wrong).sum();
    report.set("accuracy", "runs", scale.verdicts);
    report.set("accuracy", "wrong", wrong);
    report.add(Table {
        name: "accuracy",
        title: "Verdicts under load".to_owned(),
        note: format!(
            "{} runs of programs with known endings, {AT_ONCE} in parallel.",
            scale.verdicts
        ),
        columns: vec!["runs", "wrong"],
        rows: tally
            .iter()
            .map(|(name, (count, wrong))| {
                ((*name).to_owned(), vec![count.to_string(), wrong.to_string()])
            })
            .collect(),
        bars: tally.iter().map(|(name, (count, _))| ((*name).to_owned(), *count as f64)).collect(),
        curve: None,
        unit: "runs",
    });
}
