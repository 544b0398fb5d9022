//! Containers: `docker run`, and the engine cold and with containers that wait.

use std::process::Command;
use std::time::{Duration, Instant};

use crucible::{DockerEngine, Engine as _, Evaluation, RunContext};

use crate::report::{Report, Table};
use crate::scale::Scale;
use crate::start::runtime;
use crate::support::{Case, Order};

/// Made by `ci/docker image`.
const IMAGE: &str = "crucible-busybox:latest";
const ARGV: [&str; 2] = ["echo", "hi"];
const WAITING: usize = 2;
const ROUNDS_FIRST: usize = 1;

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let runtime = runtime();
    let engine = |warm| {
        runtime.block_on(DockerEngine::builder().image(IMAGE).ready_containers(warm).build())
    };
    let (cold, warm) = match (engine(0), engine(WAITING)) {
        (Ok(cold), Ok(warm)) => (cold, warm),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!(
                "containers are left out (ci/docker start, ci/docker image): {}",
                crucible::error_chain(&error)
            );
            return;
        }
    };
    let evaluation = Evaluation::command(ARGV);
    let run = |engine: &DockerEngine| {
        let outcome = runtime.block_on(engine.run(&evaluation, &RunContext::new())).expect("a run");
        assert_eq!(outcome.stdout.to_text(), "hi\n", "{}", outcome.verdict());
    };
    // Only what was asked for once is kept ready.
    run(&warm);
    let mut cases = [
        Case::new("docker run --rm --network none", || {
            let mut command = Command::new("docker");
            command.args(["run", "--rm", "--network", "none", IMAGE]).args(ARGV);
            let output = command.output().expect("docker");
            assert_eq!(output.stdout, b"hi\n", "{}", String::from_utf8_lossy(&output.stderr));
        }),
        Case::new("crucible, docker, cold", || run(&cold)),
        Case::new("crucible, docker, warm", || run(&warm)),
    ];
    let mut order = Order::new();
    for round in 0..scale.container_rounds + ROUNDS_FIRST {
        for index in order.shuffled(cases.len()) {
            settle(&warm);
            let began = Instant::now();
            (cases[index].run)();
            if round >= ROUNDS_FIRST {
                cases[index].times.push(began.elapsed());
            }
        }
    }
    report.set_case("docker_cold", &cases[1], &cases[0]);
    report.set_case("docker_warm", &cases[2], &cases[0]);
    report.add(Table::of_cases(
        "containers",
        "Containers",
        "`echo hi` in the same image, with the daemon's own runtime. Warm: a container was started before there was a program, and runs this \
         one program.",
        &cases,
    ));
}

/// What the one before has left to the daemon is not this one's; and one that waits has to be there.
fn settle(warm: &DockerEngine) {
    let began = Instant::now();
    while warm.ready_stats().ready < WAITING as u64 {
        assert!(began.elapsed() < Duration::from_secs(60), "containers are started ahead of time");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
}
