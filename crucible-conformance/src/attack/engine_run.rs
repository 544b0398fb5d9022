//! A run of an attack by an engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{Engine, Evaluation, InputFile, Outcome, RunContext};

use super::bare;
use super::entry::{Attack, Needs};
use super::observation::{Observation, read_report};
use super::programs;
use super::scene::Scene;

/// No run takes longer: an engine that hangs proves nothing.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs an attack by an engine, and looks what came of it.
pub(super) async fn attack_engine(
    engine: &Arc<dyn Engine>,
    attack: &Attack,
    program: &Path,
) -> Observation {
    let Some(binary) = programs::BINARY else {
        return Observation::failed("there are no programs");
    };
    let mut scene = match Scene::set_up(program, attack).await {
        Ok(scene) => scene,
        Err(error) => return Observation::failed(crucible_core::error_chain(&error)),
    };
    let mut argv = vec![format!("./{}", programs::NAME)];
    argv.extend(scene.arguments(attack, Path::new("/tmp")));
    let file = InputFile::new(programs::NAME, binary).with_executable();
    let mut evaluation = Evaluation::command(argv)
        .with_input_file(file)
        .with_limits(attack.limits())
        .with_capture_bytes(256 * 1024);
    if let Needs::Results(collect, _) = &attack.needs {
        evaluation = evaluation.with_collect(collect.clone());
    }
    let caller = matches!(attack.needs, Needs::Caller).then(|| bare::call(&scene.extra));
    let times = if matches!(attack.needs, Needs::Twice) { 2 } else { 1 };
    let mut last = None;
    for _ in 0..times {
        let context = RunContext::new();
        match tokio::time::timeout(PATIENCE, engine.run(&evaluation, &context)).await {
            Ok(Ok(outcome)) => last = Some(outcome),
            Ok(Err(error)) => {
                let failed = Observation::failed(format!(
                    "the engine: {}",
                    crucible_core::error_chain(&error)
                ));
                return Observation { found_outside: scene.harm(&[]), ..failed };
            }
            Err(_) => {
                let failed = Observation::failed(format!("no outcome after {PATIENCE:?}"));
                return Observation { found_outside: scene.harm(&[]), ..failed };
            }
        }
    }
    let Some(outcome) = last else { return Observation::failed("it was not run") };
    let mut found_outside = look(&mut scene, &outcome, attack);
    if let Some(caller) = caller
        && caller.stop()
    {
        found_outside.push("the host could connect".to_owned());
    }
    let stdout = outcome.stdout.to_text().into_owned();
    Observation {
        said: read_report(&stdout, &scene.mark),
        found_outside,
        outcome: Some(outcome),
        failed: None,
    }
}

/// What can be seen from outside.
fn look(scene: &mut Scene, outcome: &Outcome, attack: &Attack) -> Vec<String> {
    let (stdout, stderr) = (outcome.stdout.to_text(), outcome.stderr.to_text());
    let mut written = vec![stdout.as_bytes(), stderr.as_bytes()];
    written.extend(outcome.artifacts.iter().filter_map(|artifact| artifact.content.as_deref()));
    let mut harm = scene.harm(&written);
    harm.extend(
        bare::told_variables(&stdout).map(|name| format!("the host's variable {name} was told")),
    );
    harm.extend(attack.check.and_then(|check| check(outcome)).map(str::to_owned));
    if let Needs::Results(collect, _) = &attack.needs {
        let bytes: u64 = outcome.artifacts.iter().map(|artifact| artifact.size_bytes).sum();
        if outcome.artifacts.len() > collect.files_max || bytes > collect.bytes_max {
            harm.push("more was collected than asked for".to_owned());
        }
        let mut names = outcome.artifacts.iter().map(|artifact| artifact.path.as_str());
        if names.any(|name| name.contains("..") && name.split('/').any(|part| part == "..")) {
            harm.push("a result has a name that leads up".to_owned());
        }
    }
    harm
}
