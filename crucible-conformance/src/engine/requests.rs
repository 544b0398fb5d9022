//! Cases on invalid and unenforceable evaluations.

use std::time::Duration;

use crucible_core::{
    Endpoint, EngineError, EngineErrorKind, Evaluation, InvalidInput, Isolation, Layer,
    LayerStatus, Limits, Network, RunContext, Secret,
};

use super::support::Subject;

async fn refusal(engine: &Subject, evaluation: &Evaluation) -> EngineError {
    match engine.run(evaluation, &RunContext::new()).await {
        Err(error) => error,
        Ok(outcome) => panic!("the evaluation ran: {}", outcome.verdict()),
    }
}

async fn invalid(engine: &Subject, evaluation: &Evaluation) -> InvalidInput {
    match refusal(engine, evaluation).await {
        EngineError::Invalid(input) => input,
        other => panic!("{other}"),
    }
}

/// The error contains every problem, not only the first.
pub async fn invalid_evaluation_reports_every_problem(engine: Subject) {
    let evaluation = Evaluation::source("cobol", "")
        .with_file("../out", "")
        .with_limits(Limits::new().with_wall(Duration::ZERO).with_processes(0));
    let fields: Vec<_> = invalid(&engine, &evaluation)
        .await
        .problems()
        .iter()
        .map(|problem| problem.field.clone())
        .collect();
    assert_eq!(fields, ["limits.wall_us", "limits.processes", "files[0].path", "language"]);
}

/// A required layer that is not enforced, or a network policy that the engine lacks, is refused by
/// name.
pub async fn unenforceable_requirement_is_refused(engine: Subject) {
    let info = engine.info();
    for layer in Layer::ALL {
        if info.enforcement.status(*layer) != LayerStatus::Enforced {
            let evaluation =
                Evaluation::shell("exit 0").with_isolation(Isolation::require([*layer]));
            let error = refusal(&engine, &evaluation).await;
            assert_eq!(error.kind(), EngineErrorKind::LayerUnavailable);
            assert!(error.to_string().contains(layer.name()), "{error}");
        }
    }
    if !info.allow_lists {
        let network = Network::Allow(vec![Endpoint::new("example.org", 443)]);
        let error = refusal(&engine, &Evaluation::shell("exit 0").with_network(network)).await;
        assert_eq!(error.kind(), EngineErrorKind::Unsupported);
    }
}

/// An argument list of 3 MB is refused.
pub async fn too_long_argument_list_is_refused(engine: Subject) {
    let long = Evaluation::command((0..30).map(|_| "x".repeat(100_000)));
    assert_eq!(invalid(&engine, &long).await.problems()[0].field, "command");
    assert_eq!(
        invalid(&engine, &Evaluation::command([""])).await.problems()[0].field,
        "command[0]"
    );
    assert_eq!(
        invalid(&engine, &Evaluation::command(["a\0b"])).await.problems()[0].field,
        "command[0]"
    );
    // The kernel accepts the longest list that the engine accepts.
    let most = Evaluation::command(
        std::iter::once("true".to_owned()).chain((0..19).map(|_| "x".repeat(100_000))),
    );
    let outcome = engine.run(&most, &RunContext::new()).await.unwrap();
    assert!(outcome.is_success(), "{}", outcome.verdict());
}

/// 100,000 environment variables are refused.
pub async fn too_many_variables_are_refused(engine: Subject) {
    let mut evaluation = Evaluation::command(["true"]);
    for number in 0..100_000 {
        evaluation = evaluation.with_env(format!("VARIABLE_{number}"), "0123456789");
    }
    let problems = invalid(&engine, &evaluation).await;
    assert!(problems.to_string().contains("100000 variables"), "{problems}");
}

/// Zero and overflow never mean 'no limit'.
pub async fn zero_and_overflowing_limits_are_refused(engine: Subject) {
    let zero = [
        Limits::new().with_wall(Duration::ZERO),
        Limits::new().with_cpu(Duration::MAX),
        Limits::new().with_memory_bytes(0),
        Limits::new().with_memory_bytes(u64::MAX),
        Limits::new().with_processes(0),
        Limits::new().with_output_bytes(0),
        Limits::new().with_disk_bytes(u64::MAX),
        Limits::new().with_inodes(0),
        Limits::new().with_open_files(0),
    ];
    for limits in zero {
        let problems = invalid(&engine, &Evaluation::shell("exit 0").with_limits(limits)).await;
        assert!(problems.problems()[0].field.starts_with("limits."), "{problems}");
    }
}

/// An evaluation without the value of its secret is refused, and the error contains the name.
pub async fn lost_secret_is_refused_by_name(engine: Subject) {
    let evaluation = Evaluation::shell("echo $TOKEN").with_env("TOKEN", Secret::new("hunter2"));
    let stored = serde_json::to_string(&evaluation).unwrap();
    let error = refusal(&engine, &serde_json::from_str(&stored).unwrap()).await;
    assert_eq!(error.kind(), EngineErrorKind::SecretLost);
    assert!(error.to_string().contains("TOKEN"), "{error}");
}

/// A healthy engine passes its health check.
pub async fn healthy_engine_passes_health_check(engine: Subject) {
    engine.health().await.unwrap();
}
