//! A run of an attack by an engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{Engine, Evaluation, InputFile, Outcome, RunContext};

use super::binary;
use super::definition::{Attack, FixtureNeeds};
use super::fixture::AttackFixture;
use super::observation::{Observation, parse_report};
use super::unsandboxed::{self, ConnectionProbe};

/// The time after which a run counts as failed: an engine that hangs proves nothing.
const RUN_DEADLINE: Duration = Duration::from_secs(90);

/// Runs an attack by an engine and returns what the host observed.
pub(super) async fn run_on_engine(
    engine: &Arc<dyn Engine>,
    attack: &Attack,
    program: &Path,
) -> Observation {
    let Some(binary) = binary::BINARY else {
        return Observation::failed("the attack programs are not built for this target");
    };
    let mut fixture = match AttackFixture::set_up(program, attack).await {
        Ok(fixture) => fixture,
        Err(error) => return Observation::failed(crucible_core::error_chain(&error)),
    };
    let evaluation = evaluation(attack, &fixture, binary);
    let inbound = matches!(attack.needs, FixtureNeeds::InboundConnection);
    let probe = inbound.then(|| ConnectionProbe::start(&fixture.parameter));
    let runs = if matches!(attack.needs, FixtureNeeds::TwoRuns) { 2 } else { 1 };
    let mut last = None;
    for _ in 0..runs {
        let context = RunContext::new();
        let failure = match tokio::time::timeout(RUN_DEADLINE, engine.run(&evaluation, &context))
            .await
        {
            Ok(Ok(outcome)) => {
                last = Some(outcome);
                continue;
            }
            Ok(Err(error)) => format!("the engine failed: {}", crucible_core::error_chain(&error)),
            Err(_) => format!("no outcome after {RUN_DEADLINE:?}"),
        };
        let external_harm = fixture.observed_harm(&[]);
        return Observation { external_harm, ..Observation::failed(failure) };
    }
    let Some(outcome) = last else { return Observation::failed("the attack was not run") };
    let mut external_harm = observed_harm(&mut fixture, &outcome, attack);
    external_harm.extend(probe.and_then(ConnectionProbe::stop));
    let stdout = outcome.stdout.to_text().into_owned();
    Observation {
        report: parse_report(&stdout, &fixture.mark),
        external_harm,
        outcome: Some(outcome),
        failed: None,
    }
}

fn evaluation(attack: &Attack, fixture: &AttackFixture, binary: &'static [u8]) -> Evaluation {
    let mut argv = vec![format!("./{}", binary::NAME)];
    argv.extend(fixture.arguments(attack, Path::new("/tmp")));
    let file = InputFile::new(binary::NAME, binary).with_executable();
    let evaluation = Evaluation::command(argv)
        .with_input_file(file)
        .with_limits(attack.limits())
        .with_capture_bytes(256 * 1024);
    match &attack.needs {
        FixtureNeeds::Results(collect, _) => evaluation.with_collect(collect.clone()),
        _ => evaluation,
    }
}

/// Returns the harm that is visible from outside the sandbox.
fn observed_harm(fixture: &mut AttackFixture, outcome: &Outcome, attack: &Attack) -> Vec<String> {
    let (stdout, stderr) = (outcome.stdout.to_text(), outcome.stderr.to_text());
    let mut written = vec![stdout.as_bytes(), stderr.as_bytes()];
    written.extend(outcome.artifacts.iter().filter_map(|artifact| artifact.content.as_deref()));
    let mut harm = fixture.observed_harm(&written);
    harm.extend(unsandboxed::leaked_variables(&stdout));
    harm.extend(attack.outcome_check.and_then(|check| check(outcome)).map(str::to_owned));
    if let FixtureNeeds::Results(collect, _) = &attack.needs {
        let bytes: u64 = outcome.artifacts.iter().map(|artifact| artifact.size_bytes).sum();
        if outcome.artifacts.len() > collect.files_max || bytes > collect.bytes_max {
            harm.push("the engine collected more than its bounds".to_owned());
        }
        let mut names = outcome.artifacts.iter().map(|artifact| artifact.path.as_str());
        if names.any(|name| name.split('/').any(|part| part == "..")) {
            harm.push("the name of a result contains `..`".to_owned());
        }
    }
    harm
}
