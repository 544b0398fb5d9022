//! Helpers of the tests.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use crucible_core::{Engine as _, EngineError, Evaluation, Limits, Outcome, RunContext};
use crucible_docker::{DockerBuilder, DockerEngine, Runtime};

/// The image that `ci/docker image` builds.
pub(crate) const IMAGE: &str = "crucible-local:latest";

/// Returns a builder with the test image.
pub(crate) fn builder() -> DockerBuilder {
    DockerEngine::builder().image(IMAGE)
}

/// Returns a builder for gVisor, under the name that `ci/docker start` configures.
pub(crate) fn gvisor() -> DockerBuilder {
    builder().runtime(Runtime::named("runsc"))
}

/// Builds an engine, or returns why this machine has no daemon. Panics on every other error.
pub(crate) async fn build_engine(builder: DockerBuilder) -> Result<DockerEngine, String> {
    match builder.build().await {
        Ok(engine) => Ok(engine),
        Err(error @ (EngineError::Unavailable { .. } | EngineError::Unsupported { .. })) => {
            let reason = format!(
                "{}: `ci/docker start && ci/docker image`",
                crucible_core::error_chain(&error)
            );
            assert!(!is_required(), "a daemon is required: {reason}");
            Err(reason)
        }
        Err(error) => panic!("{}", crucible_core::error_chain(&error)),
    }
}

pub(crate) fn is_required() -> bool {
    ["CI", "CRUCIBLE_REQUIRE_DOCKER"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Runs a test if there is a daemon, else prints why it is skipped.
pub(crate) fn with_daemon(test: impl Future<Output = ()>) {
    run(async {
        match build_engine(builder()).await {
            Ok(engine) => {
                engine.close().await;
                test.await;
            }
            Err(reason) => eprintln!("SKIPPED: {reason}"),
        }
    });
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

pub(crate) fn limits() -> Limits {
    Limits::new().with_wall(Duration::from_secs(20)).with_memory_bytes(128 << 20)
}

pub(crate) fn shell(script: &str) -> Evaluation {
    Evaluation::shell(script).with_limits(limits())
}

pub(crate) async fn outcome(engine: &DockerEngine, evaluation: &Evaluation) -> Outcome {
    match engine.run(evaluation, &RunContext::new()).await {
        Ok(outcome) => outcome,
        Err(error) => panic!("{}", crucible_core::error_chain(&error)),
    }
}

pub(crate) async fn run_error(engine: &DockerEngine, evaluation: &Evaluation) -> EngineError {
    match engine.run(evaluation, &RunContext::new()).await {
        Ok(outcome) => panic!("unexpected outcome: {}", outcome.verdict()),
        Err(error) => error,
    }
}

/// Runs `docker` with the daemon of the tests, and returns its output.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the containers of all engines: name, owner, state.
pub(crate) fn containers() -> Vec<(String, String, String)> {
    let format = "{{.Names}}\t{{.Label \"crucible.owner\"}}\t{{.State}}";
    let text = docker(&[
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        "label=crucible.owner",
        "--format",
        format,
    ]);
    let parse = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        Some((parts.next()?, parts.next()?, parts.next()?))
    };
    text.lines().filter_map(parse).collect()
}

/// Returns the containers of all engines by owner: name, state.
pub(crate) fn by_owner() -> HashMap<String, Vec<(String, String)>> {
    let mut owners = HashMap::<String, Vec<(String, String)>>::new();
    for (name, owner, state) in containers() {
        owners.entry(owner).or_default().push((name, state));
    }
    owners
}

/// Waits until a condition holds.
pub(crate) async fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
