//! The latency of one run in a container.
//!
//! It compares `docker run --rm`, the bare sequence of API calls, and the engine, cold and with
//! ready containers. It measures runc, and gVisor if the daemon has it. To run it: `ci/docker start
//! && ci/docker image`, then `ci/bench docker-latency [--rounds N]`.

#![expect(clippy::expect_used, reason = "a benchmark that fails has nothing to report")]

#[expect(dead_code, reason = "each benchmark uses a part of the shared code")]
#[path = "../../support/mod.rs"]
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use crucible::docker::DockerEngine;
use crucible::docker::Runtime;
use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation};
use futures::StreamExt as _;
use support::{Case, Order, print_table, ratio, rounds_or};

/// The image that `ci/docker image` creates.
const IMAGE: &str = "crucible-busybox:latest";
/// The longest wait for output after the container's end.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// The measured program.
const ARGV: [&str; 2] = ["echo", "hi"];

fn main() -> Result<(), String> {
    let rounds = rounds_or(30)?;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (name, kind) in [("", Runtime::Default), ("runsc", Runtime::named("runsc"))] {
        let engine = |ready| {
            let builder =
                DockerEngine::builder().image(IMAGE).runtime(kind.clone()).ready_containers(ready);
            runtime.block_on(builder.build())
        };
        let (cold, ready) = match (engine(0), engine(2)) {
            (Ok(cold), Ok(ready)) => (cold, ready),
            (Err(error), _) | (_, Err(error)) => {
                println!("{kind}: SKIPPED: {}", crucible::model::error_chain(&error));
                continue;
            }
        };
        println!("{kind}");
        compare(&runtime, name, &cold, &ready, rounds);
        drop((cold, ready));
    }
    Ok(())
}

/// Compares the cases with one container runtime and prints a table.
fn compare(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    cold: &DockerEngine,
    ready: &DockerEngine,
    rounds: usize,
) {
    let daemon = Docker::connect_with_defaults().expect("a daemon");
    let evaluation = Evaluation::command(ARGV);
    let run = |engine: &DockerEngine| {
        let outcome = runtime.block_on(engine.run(&evaluation, &RunContext::new())).expect("a run");
        assert_eq!(outcome.stdout.to_text(), "hi\n", "{}", outcome.verdict());
    };
    run(ready);
    let mut cases = [
        Case::new("docker run --rm", || {
            let mut command = Command::new("docker");
            command.args(["run", "--rm", "--network", "none"]);
            if !name.is_empty() {
                command.args(["--runtime", name]);
            }
            let output = command.arg(IMAGE).args(ARGV).output().expect("docker");
            assert_eq!(output.stdout, b"hi\n", "{}", String::from_utf8_lossy(&output.stderr));
        }),
        Case::new("create, attach, start, wait, remove", || {
            assert_eq!(runtime.block_on(bare(&daemon, name)), b"hi\n");
        }),
        Case::new("crucible, cold", || run(cold)),
        Case::new("crucible, ready", || run(ready)),
    ];
    let mut order = Order::new();
    for round in 0..rounds + 2 {
        for index in order.shuffled(cases.len()) {
            let Some(case) = cases.get_mut(index) else { continue };
            settle(ready);
            let began = Instant::now();
            (case.run)();
            if round >= 2 {
                case.times.push(began.elapsed());
            }
        }
    }
    print_table(&cases);
    let [docker, bare, cold, ready] = cases.map(|case| case.median());
    println!("cold to the bare calls:   {:.2} (budget 1.1)", ratio(cold, bare));
    println!("ready to docker run --rm: {:.2} (budget 0.1)", ratio(ready, docker));
}

/// Waits until a container is ready and the daemon has finished earlier removals.
fn settle(ready: &DockerEngine) {
    let began = Instant::now();
    while ready.ready_stats().ready < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "no container became ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
}

/// Runs a program once with the fewest API calls, and returns its output.
async fn bare(daemon: &Docker, runtime: &str) -> Vec<u8> {
    let name = format!("crucible-bench-{}", std::process::id());
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(ARGV.map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            runtime: (!runtime.is_empty()).then(|| runtime.to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    daemon.create_container(Some(options), body).await.expect("a container");
    let options =
        AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
    let mut attached = daemon.attach_container(&name, Some(options)).await.expect("its output");
    let options = WaitContainerOptionsBuilder::default().condition("next-exit").build();
    let mut ended = daemon.wait_container(&name, Some(options));
    let (started, ended) = tokio::join!(daemon.start_container(&name, None), ended.next());
    started.expect("it starts");
    // bollard reports exit codes other than 0 as errors.
    ended.expect("its end").expect("exit code 0");
    let mut output = Vec::new();
    // The stream can stay open after the container's end.
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(OUTPUT_GRACE, attached.output.next()).await
    {
        output.extend_from_slice(&piece.into_bytes());
        if output.ends_with(b"\n") {
            break;
        }
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    daemon.remove_container(&name, Some(options)).await.expect("it is removed");
    output
}
