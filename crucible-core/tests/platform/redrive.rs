//! The redrive of dead letters.

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{
    Crucible, EngineError, Evaluation, EvaluationId, RecordQuery, RecordState, RedriveError, Secret,
};

use crate::support::{TestPlatform, command, ended, within};

fn closed() -> EngineError {
    EngineError::Closed { what: "the engine".to_owned() }
}

/// Returns an engine that fails its first run.
fn failing_once() -> FakeEngine {
    let failed = std::sync::atomic::AtomicBool::new(false);
    FakeEngine::scripted(move |_| {
        let has_failed = failed.swap(true, std::sync::atomic::Ordering::SeqCst);
        if has_failed { FakeRun::exit(0) } else { FakeRun::error(closed) }
    })
}

#[tokio::test(start_paused = true)]
async fn redrive_submits_a_labelled_copy() {
    let test = TestPlatform::with_engine(failing_once());
    let crucible = test.build();
    let evaluation =
        command("exit 0").with_tenant("a").with_label("course", "x").with_idempotency_key("once");
    let dead = crucible.submit(evaluation.clone()).await.unwrap();
    assert_eq!(ended(&dead).await, RecordState::Failed);
    let again = crucible.redrive(dead.id()).await.unwrap();
    assert_ne!(again.id(), dead.id());
    assert!(within(again.outcome()).await.unwrap().is_success());
    let (record, _) = test.verified(again.id()).await;
    let label = dead.id().to_string();
    let mut expected = evaluation.clone().with_label(Crucible::REDRIVE_OF, label.clone());
    expected.idempotency_key = None;
    assert_eq!(*record.evaluation, expected);
    // The dead letter keeps its state and its key.
    assert_eq!(test.verified(dead.id()).await.0.state, RecordState::Failed);
    assert_eq!(crucible.submit(evaluation).await.unwrap().id(), dead.id());
    let found = crucible
        .records(&RecordQuery::new().with_label(Crucible::REDRIVE_OF, label))
        .await
        .unwrap();
    assert_eq!(found.records, [record]);
}

#[tokio::test(start_paused = true)]
async fn redrive_of_another_state_is_refused() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let unknown = EvaluationId::new();
    let error = crucible.redrive(unknown).await.unwrap_err();
    assert!(
        matches!(error, RedriveError::Unknown { evaluation } if evaluation == unknown),
        "{error:?}"
    );
    let handle = crucible.submit(command("exit 1")).await.unwrap();
    ended(&handle).await;
    let error = crucible.redrive(handle.id()).await.unwrap_err();
    assert!(
        matches!(error, RedriveError::NotFailed { state: RecordState::Finished, .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn redrive_without_secret_values_is_refused() {
    let test = TestPlatform::with_engine(failing_once());
    let crucible = test.build();
    let evaluation = Evaluation::command(["exit", "0"]).with_env("TOKEN", Secret::new("hunter2"));
    let dead = crucible.submit(evaluation).await.unwrap();
    assert_eq!(ended(&dead).await, RecordState::Failed);
    let error = crucible.redrive(dead.id()).await.unwrap_err();
    assert!(error.to_string().contains("TOKEN"), "{error}");
    assert!(matches!(error, RedriveError::SecretLost { .. }));
}
