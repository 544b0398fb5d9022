//! Several platforms on the same backends.

use std::time::Duration;

use crucible_core::{LocalBus, RecordState, Verdict};
use tokio::time::Instant;

use crate::support::{
    SECOND, TestPlatform, command, started_events, terminal_events, until, within, within_real_time,
};

#[tokio::test(start_paused = true)]
async fn remote_run_can_be_cancelled_and_awaited() {
    let test = TestPlatform::new();
    let there = test.builder().host("there").build().unwrap();
    let handle = there.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let here = test.builder().host("here").build().unwrap();
    let started_at = Instant::now();
    assert!(here.handle(handle.id()).cancel().await.unwrap());
    assert_eq!(
        within(here.handle(handle.id()).outcome()).await.unwrap().verdict(),
        &Verdict::Cancelled
    );
    assert_eq!(started_at.elapsed(), Duration::ZERO, "the bus delivers the request at once");
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    let worker = test.verified(handle.id()).await.1.iter().find_map(|event| match &event.kind {
        crucible_core::EventKind::Started { worker, .. } => Some(worker.to_string()),
        _ => None,
    });
    assert!(worker.unwrap().starts_with("there/"));
}

#[tokio::test(start_paused = true)]
async fn lost_cancel_request_is_found_in_the_storage() {
    let test = TestPlatform::new();
    let lease = Duration::from_secs(30);
    let there = test.builder().lease(lease).build().unwrap();
    let handle = there.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let here = test.builder().bus(LocalBus::new()).build().unwrap();
    let started_at = Instant::now();
    assert!(here.handle(handle.id()).cancel().await.unwrap());
    assert_eq!(
        within(here.handle(handle.id()).outcome()).await.unwrap().verdict(),
        &Verdict::Cancelled
    );
    assert!(started_at.elapsed() <= lease / 3 + SECOND, "{:?}", started_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn queued_evaluation_can_be_cancelled_from_any_host() {
    let test = TestPlatform::new();
    let there = test.builder().workers(1).build().unwrap();
    let running = there.submit(command("hang")).await.unwrap();
    until(&running, "started").await;
    let here = test.builder().workers(1).build().unwrap();
    let blocking = here.submit(command("hang")).await.unwrap();
    until(&blocking, "started").await;
    let handle = there.submit(command("exit 0")).await.unwrap();
    assert!(here.handle(handle.id()).cancel().await.unwrap());
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    assert_eq!(test.event_names(handle.id()).await, ["submitted", "cancelled"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn evaluations_of_several_hosts_run_once_each() {
    let test = TestPlatform::new();
    let platforms = [test.build(), test.build(), test.build()];
    let submitting: Vec<_> = (0..150)
        .map(|number: usize| {
            let crucible = platforms[number % 3].clone();
            tokio::spawn(async move { crucible.submit(command("exit 0")).await.unwrap() })
        })
        .collect();
    for task in submitting {
        let handle = within_real_time(task).await.unwrap();
        assert!(within_real_time(handle.outcome()).await.unwrap().is_success());
        let (record, journal) = test.verified(handle.id()).await;
        assert_eq!(
            (record.state, started_events(&journal), terminal_events(&journal)),
            (RecordState::Finished, 1, 1)
        );
    }
    assert_eq!(test.engine.opened(), 150);
}
