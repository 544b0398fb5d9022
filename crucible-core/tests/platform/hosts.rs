//! Several platforms on the same backends.

use std::time::Duration;

use crucible_core::{LocalBus, RecordState, Verdict};
use tokio::time::Instant;

use crate::support::{House, SECOND, command, endings, soon, starts, until, within};

#[tokio::test(start_paused = true)]
async fn what_runs_elsewhere_can_be_cancelled_and_awaited_from_here() {
    let house = House::new();
    let there = house.builder().host("there").build().unwrap();
    let handle = there.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let here = house.builder().host("here").build().unwrap();
    let began = Instant::now();
    assert!(here.handle(handle.id()).cancel().await.unwrap());
    assert_eq!(
        within(here.handle(handle.id()).outcome()).await.unwrap().verdict(),
        &Verdict::Cancelled
    );
    assert_eq!(began.elapsed(), Duration::ZERO, "the bus says it at once");
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    let worker = house.sound(handle.id()).await.1.iter().find_map(|event| match &event.kind {
        crucible_core::EventKind::Started { worker, .. } => Some(worker.to_string()),
        _ => None,
    });
    assert!(worker.unwrap().starts_with("there/"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_bus_did_not_pass_on_is_found_in_the_storage() {
    let house = House::new();
    let lease = Duration::from_secs(30);
    let there = house.builder().lease(lease).build().unwrap();
    let handle = there.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let here = house.builder().bus(LocalBus::new()).build().unwrap();
    let began = Instant::now();
    assert!(here.handle(handle.id()).cancel().await.unwrap());
    assert_eq!(
        within(here.handle(handle.id()).outcome()).await.unwrap().verdict(),
        &Verdict::Cancelled
    );
    assert!(began.elapsed() <= lease / 3 + SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_waits_can_be_cancelled_from_anywhere() {
    let house = House::new();
    let there = house.builder().workers(1).build().unwrap();
    let running = there.submit(command("hang")).await.unwrap();
    until(&running, "started").await;
    let here = house.builder().workers(1).build().unwrap();
    let blocking = here.submit(command("hang")).await.unwrap();
    until(&blocking, "started").await;
    let handle = there.submit(command("exit 0")).await.unwrap();
    assert!(here.handle(handle.id()).cancel().await.unwrap());
    assert_eq!(within(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    assert_eq!(house.names(handle.id()).await, ["submitted", "cancelled"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_evaluation_runs_once_whoever_submitted_it() {
    let house = House::new();
    let platforms = [house.build(), house.build(), house.build()];
    let submitting: Vec<_> = (0..150)
        .map(|number: usize| {
            let crucible = platforms[number % 3].clone();
            tokio::spawn(async move { crucible.submit(command("exit 0")).await.unwrap() })
        })
        .collect();
    for task in submitting {
        let handle = soon(task).await.unwrap();
        assert!(soon(handle.outcome()).await.unwrap().is_success());
        let (record, journal) = house.sound(handle.id()).await;
        assert_eq!(
            (record.state, starts(&journal), endings(&journal)),
            (RecordState::Finished, 1, 1)
        );
    }
    assert_eq!(house.engine.opened(), 150);
}
