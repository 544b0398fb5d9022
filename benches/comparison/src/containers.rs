//! Containers: `docker run` beside the engine, cold and with ready containers.

use std::process::Command;
use std::time::{Duration, Instant};

use crucible::docker::DockerEngine;
use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation};

use crate::report::{Report, Table};
use crate::scale::Scale;
use crate::start::runtime;
use crate::support::{Case, Order};

/// The image that `ci/docker image` creates.
const IMAGE: &str = "crucible-busybox:latest";
/// The measured program.
const ARGV: [&str; 2] = ["echo", "hi"];
/// The number of ready containers.
const READY: usize = 2;
/// The number of warm-up rounds.
const WARM_UP_ROUNDS: usize = 1;

/// Measures `echo hi` in a container, by the `docker` command and by the engine.
pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let runtime = runtime();
    let engine = |ready| {
        runtime.block_on(DockerEngine::builder().image(IMAGE).ready_containers(ready).build())
    };
    let (cold, ready) = match (engine(0), engine(READY)) {
        (Ok(cold), Ok(ready)) => (cold, ready),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!(
                "containers: SKIPPED (ci/docker start, ci/docker image): {}",
                crucible::model::error_chain(&error)
            );
            return;
        }
    };
    let evaluation = Evaluation::command(ARGV);
    let run = |engine: &DockerEngine| {
        let outcome = runtime.block_on(engine.run(&evaluation, &RunContext::new())).expect("a run");
        assert_eq!(outcome.stdout.to_text(), "hi\n", "{}", outcome.verdict());
    };
    // The engine keeps containers ready for kinds that were requested before.
    run(&ready);
    let mut cases = [
        Case::new("docker run --rm --network none", || {
            let mut command = Command::new("docker");
            command.args(["run", "--rm", "--network", "none", IMAGE]).args(ARGV);
            let output = command.output().expect("docker");
            assert_eq!(output.stdout, b"hi\n", "{}", String::from_utf8_lossy(&output.stderr));
        }),
        Case::new("crucible, docker, cold", || run(&cold)),
        Case::new("crucible, docker, ready", || run(&ready)),
    ];
    let mut order = Order::new();
    for round in 0..scale.container_rounds + WARM_UP_ROUNDS {
        for index in order.shuffled(cases.len()) {
            settle(&ready);
            let began = Instant::now();
            (cases[index].run)();
            if round >= WARM_UP_ROUNDS {
                cases[index].times.push(began.elapsed());
            }
        }
    }
    report.set_case("docker_cold", &cases[1], &cases[0]);
    report.set_case("docker_ready", &cases[2], &cases[0]);
    report.add(Table::of_cases(
        "containers",
        "Containers",
        "`echo hi` in the same image, with the daemon's own runtime. Ready: the container was \
         started ahead of time and runs this one program.",
        &cases,
    ));
}

/// Waits until a container is ready and the daemon has finished earlier removals.
fn settle(ready: &DockerEngine) {
    let began = Instant::now();
    while ready.ready_stats().ready < READY as u64 {
        assert!(began.elapsed() < Duration::from_secs(60), "no container became ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
}
