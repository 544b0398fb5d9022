//! The event stream of one evaluation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::testing::{Fault, Faults, FaultyBus};
use crucible_core::{
    BusError, Event, EventBus, EventFilter, EventKind, EventStream, Events, EventsError, Lagged,
    LocalBus, OutputStream,
};
use futures::StreamExt as _;

use crate::support::{TestPlatform, command, until, within};

/// Returns all items of a stream that must end: entries as `2 started`, signals as `2 output 0`.
async fn all(events: Events) -> Vec<String> {
    within(events.map(|item| show(&item)).collect()).await
}

fn show(item: &Result<Arc<Event>, EventsError>) -> String {
    match item {
        Ok(event) => match &event.kind {
            EventKind::Output { offset, .. } => format!("{} output {offset}", event.sequence),
            kind => format!("{} {}", event.sequence, kind.name()),
        },
        Err(EventsError::Lagged(lagged)) => format!("lagged {}", lagged.missed),
        Err(error) => format!("{error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn early_subscriber_gets_everything_in_order() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("print x")).await.unwrap();
    let expected = ["1 submitted", "2 started", "2 output 0", "2 output 0", "3 finished"];
    assert_eq!(all(handle.events()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn late_subscriber_gets_the_journal_without_signals() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("print x")).await.unwrap();
    within(handle.outcome()).await.unwrap();
    assert_eq!(all(handle.events()).await, ["1 submitted", "2 started", "3 finished"]);
}

#[tokio::test(start_paused = true)]
async fn mid_run_subscriber_gets_each_entry_once() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("sleep 1000")).await.unwrap();
    until(&handle, "started").await;
    assert_eq!(all(handle.events()).await, ["1 submitted", "2 started", "3 finished"]);
}

#[tokio::test(start_paused = true)]
async fn signals_come_after_their_entry() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("hang")).await.unwrap();
    until(&handle, "started").await;
    let events = handle.events();
    let id = handle.id();
    let signal = move |sequence, offset| {
        let kind = EventKind::Output {
            stream: OutputStream::Stdout,
            offset,
            bytes: Bytes::from_static(b"x"),
        };
        Arc::new(Event::signal(id, sequence, kind))
    };
    let listening = tokio::spawn(all(events));
    tokio::time::sleep(Duration::from_millis(10)).await;
    // The signals 0 and 2 follow an old entry. The signal 1 comes before its entry.
    test.bus.publish(signal(2, 0)).await.unwrap();
    test.bus.publish(signal(3, 1)).await.unwrap();
    test.bus.publish(signal(2, 2)).await.unwrap();
    assert!(handle.cancel().await.unwrap());
    assert_eq!(
        listening.await.unwrap(),
        [
            "1 submitted",
            "2 started",
            "2 output 0",
            "2 output 2",
            "3 cancel_requested",
            "3 output 1",
            "4 cancelled"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn slow_subscriber_gets_lagged_and_every_entry() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let handle = crucible.submit(command("sleep 1000")).await.unwrap();
    let mut events = handle.events();
    assert_eq!(show(&within(events.next()).await.unwrap()), "1 submitted");
    until(&handle, "started").await;
    // A buffer holds less than half of these signals.
    for offset in 0..10_000 {
        let kind = EventKind::Output {
            stream: OutputStream::Stdout,
            offset,
            bytes: Bytes::from_static(b"x"),
        };
        test.bus.publish(Arc::new(Event::signal(handle.id(), 2, kind))).await.unwrap();
    }
    let rest = all(events).await;
    let entries: Vec<_> =
        rest.iter().filter(|item| !item.contains("output") && !item.contains("lagged")).collect();
    assert_eq!(entries, ["2 started", "3 finished"]);
    let missed: u64 = rest
        .iter()
        .filter_map(|item| item.strip_prefix("lagged "))
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    let received = rest.iter().filter(|item| item.contains("output")).count() as u64;
    // The bus also dropped the `started` entry; the stream read it from the journal.
    assert_eq!(
        (missed + received, missed > 0),
        (10_001, true),
        "{missed} missed, {received} received"
    );
    let first_output = rest.iter().position(|item| item.contains("output")).unwrap();
    assert!(
        rest[..first_output].iter().any(|item| item.starts_with("lagged")),
        "the lag comes before the next signal"
    );
}

#[tokio::test(start_paused = true)]
async fn lost_events_delay_entries_by_a_second() {
    let test = TestPlatform::new();
    // The first calls are the subscriptions of the platform and of this test.
    let faults = Faults::planned(|call| if call <= 3 { Fault::None } else { Fault::Before });
    let bus = FaultyBus::new(test.bus.clone(), faults.clone());
    let crucible = test.builder().bus(bus).build().unwrap();
    tokio::task::yield_now().await;
    let handle = crucible.submit(command("sleep 100")).await.unwrap();
    let started_at = tokio::time::Instant::now();
    assert_eq!(all(handle.events()).await, ["1 submitted", "2 started", "3 finished"]);
    assert!(faults.calls() > 3, "events were lost");
    assert!(started_at.elapsed() <= Duration::from_secs(2), "{:?}", started_at.elapsed());
    assert!(within(handle.outcome()).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn lost_events_cause_no_gap() {
    for seed in 0..200 {
        let test = TestPlatform::new();
        let bus = FaultyBus::new(
            test.bus.clone(),
            Faults::planned(move |call| {
                let lost = call > 2 && (seed >> (call % 8)) & 1 == 1;
                if lost { Fault::Before } else { Fault::None }
            }),
        );
        let crucible = test.builder().bus(bus).build().unwrap();
        let handle = crucible.submit(command("hang")).await.unwrap();
        let mut events = handle.events();
        let mut seen = Vec::new();
        while let Some(item) = within(events.next()).await {
            // If the subscription fails, the stream yields the error and ends.
            let Ok(event) = item else { break };
            if event.kind.name() == "started" {
                handle.cancel().await.unwrap();
            }
            if !event.kind.is_signal() {
                seen.push(event.sequence);
            }
        }
        let expected: Vec<u64> = (1..=seen.len() as u64).collect();
        assert_eq!(seen, expected, "seed {seed}");
        test.ended(handle.id()).await;
    }
}

/// A bus that ends each subscription after one event, like a remote bus that disconnects.
#[derive(Debug)]
struct CutBus(LocalBus);

#[async_trait]
impl EventBus for CutBus {
    async fn publish(&self, event: Arc<Event>) -> Result<(), BusError> {
        self.0.publish(event).await
    }

    async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError> {
        Ok(self.0.subscribe(filter).await?.take(1).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn ended_subscription_is_renewed() {
    let test = TestPlatform::new();
    let crucible = test.builder().bus(CutBus(test.bus.clone())).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    let following = tokio::spawn(all(handle.events()));
    until(&handle, "started").await;
    assert!(handle.cancel().await.unwrap());
    let seen = within(following).await.unwrap();
    assert_eq!(seen, ["1 submitted", "2 started", "3 cancel_requested", "4 cancelled"]);
    assert!(within(handle.outcome()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn subscribe_yields_events_of_all_evaluations() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let mut received = crucible.subscribe(EventFilter::all().without_signals()).await.unwrap();
    let first = within(crucible.evaluate(command("exit 0"))).await;
    let second = within(crucible.evaluate(command("exit 1"))).await;
    assert!(first.is_ok() && second.is_ok());
    for expected in ["submitted", "started", "finished", "submitted", "started", "finished"] {
        let item: Result<Arc<Event>, Lagged> = within(received.next()).await.unwrap();
        assert_eq!(item.unwrap().kind.name(), expected);
    }
}
