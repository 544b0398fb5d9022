//! Outcomes of evaluations.

use std::time::Duration;

use crucible_core::testing::FakeEngine;
use crucible_core::{
    Blame, EvaluateError, Evaluation, EvaluationId, EventsError, Isolation, Layer, Limits,
    RecordState, SubmitError, Verdict, WaitError,
};
use futures::StreamExt as _;

use crate::support::{TestPlatform, command, until, within};

#[tokio::test(start_paused = true)]
async fn evaluate_returns_output_and_verdict() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let outcome = within(crucible.evaluate(command("print 42"))).await.unwrap();
    assert_eq!(
        (outcome.stdout.to_text(), outcome.stderr.to_text()),
        ("42".into(), "not 42".into())
    );
    assert!(outcome.is_success());
    assert_eq!(outcome.engine, "fake");
    let outcome = within(crucible.evaluate(command("exit 3"))).await.unwrap();
    assert_eq!(
        (outcome.verdict(), outcome.blame()),
        (&Verdict::Exited { code: 3 }, Blame::Program)
    );
    assert_eq!((test.engine.opened(), test.engine.open_now()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn status_follows_an_accepted_evaluation() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let first = crucible.submit(command("sleep 1000")).await.unwrap();
    let second =
        crucible.submit(command("sleep 1000").with_label("l", "v").with_tenant("t")).await.unwrap();
    until(&first, "started").await;
    let record = first.status().await.unwrap();
    assert_eq!((record.state, record.attempt), (RecordState::Running, 1));
    assert!(record.worker.is_some());
    assert_eq!(second.status().await.unwrap().state, RecordState::Queued);
    let stats = crucible.stats().await.unwrap();
    assert_eq!((stats.running, stats.queue.ready, stats.queue.claimed), (1, 1, 1));
    let (first, second) =
        (first.id(), within(second.outcome()).await.map(|outcome| (second.id(), outcome)).unwrap());
    // The second evaluation waited for the first.
    assert!(second.1.usage.queue >= Duration::from_secs(1), "{:?}", second.1.usage);
    assert_eq!(test.event_names(first).await, ["submitted", "started", "finished"]);
    let (record, journal) = test.verified(second.0).await;
    assert_eq!(record.state, RecordState::Finished);
    assert_eq!(crucible.record(second.0).await.unwrap().as_ref(), Some(&record));
    assert_eq!(crucible.journal(second.0, 1).await.unwrap(), journal[1..]);
    let query = crucible_core::RecordQuery::new().with_tenant("t");
    assert_eq!(crucible.records(&query).await.unwrap().records, [record]);
}

#[tokio::test(start_paused = true)]
async fn handle_can_be_recreated_and_awaited_again() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("exit 7")).await.unwrap();
    let anew = crucible.handle(handle.id());
    let first = within(handle.outcome()).await.unwrap();
    let again = within(handle.outcome()).await.unwrap();
    let other = within(async { anew.await }).await.unwrap();
    assert_eq!((&first, &first), (&again, &other));
}

#[tokio::test(start_paused = true)]
async fn handle_of_an_unknown_id_reports_unknown() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.handle(EvaluationId::new());
    let Err(WaitError::Unknown { evaluation }) = within(handle.outcome()).await else {
        panic!("the evaluation is known");
    };
    assert_eq!(evaluation, handle.id());
    assert!(matches!(handle.status().await, Err(WaitError::Unknown { .. })));
    assert!(!handle.cancel().await.unwrap());
    let events: Vec<_> = within(handle.events().collect()).await;
    let [Err(EventsError::Unknown { evaluation })] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*evaluation, handle.id());
}

#[tokio::test(start_paused = true)]
async fn dropped_handle_does_not_cancel() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("sleep 5000")).await.unwrap();
    let id = handle.id();
    until(&handle, "started").await;
    drop(handle);
    assert!(within(crucible.handle(id).outcome()).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn submit_many_returns_results_in_order() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let evaluations =
        [command("exit 1"), Evaluation::command(Vec::<String>::new()), command("exit 2")];
    let answers = crucible.submit_many(evaluations).await;
    assert_eq!(answers.len(), 3);
    for (answer, expected) in answers.into_iter().zip([Some(1), None, Some(2)]) {
        match (answer, expected) {
            (Ok(handle), Some(code)) => {
                assert_eq!(
                    within(handle.outcome()).await.unwrap().verdict(),
                    &Verdict::Exited { code }
                );
            }
            (Err(SubmitError::Invalid(_)), None) => {}
            (answer, expected) => panic!("{answer:?} where {expected:?} was expected"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_evaluation_is_refused_before_storing() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let invalid =
        command("exit 0").with_limits(Limits::new().with_wall(Duration::ZERO)).with_label("", "v");
    match crucible.submit(invalid.clone()).await {
        Err(SubmitError::Invalid(problems)) => {
            let fields: Vec<_> =
                problems.problems().iter().map(|problem| problem.field.as_str()).collect();
            assert_eq!(fields, ["limits.wall_us", "labels"]);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(crucible.check(&invalid), Err(SubmitError::Invalid(_))));
    match crucible.submit(command("exit 0").with_engine("other")).await {
        Err(SubmitError::Invalid(problems)) => assert!(problems.to_string().contains("fake")),
        other => panic!("{other:?}"),
    }
    let isolated = command("exit 0").with_isolation(Isolation::require([Layer::Seccomp]));
    match crucible.evaluate(isolated).await {
        Err(EvaluateError::Submit(SubmitError::Refused { engine, source })) => {
            assert_eq!(engine, "fake");
            assert!(source.to_string().contains("seccomp"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    let page = crucible.records(&crucible_core::RecordQuery::new()).await.unwrap();
    assert_eq!((page.records.len(), crucible.stats().await.unwrap().queue.depth()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn evaluation_runs_on_its_named_engine() {
    let test = TestPlatform::new();
    let second = FakeEngine::new();
    let crucible = test.builder().engine("second", second.clone()).build().unwrap();
    within(crucible.evaluate(command("exit 1").with_engine("second"))).await.unwrap();
    assert_eq!((test.engine.opened(), second.opened()), (0, 1));
    within(crucible.evaluate(command("exit 1"))).await.unwrap();
    assert_eq!((test.engine.opened(), second.opened()), (1, 1));
}
