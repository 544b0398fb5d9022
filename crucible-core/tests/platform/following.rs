//! Following one evaluation's events: journal first, then live, without gap or repeat.

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

use crate::support::{House, command, until, within};

/// Every item of a stream that must end: entries as `2 started`, signals as `2 output 0`.
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
async fn a_listener_from_the_start_sees_everything_in_order() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("print x")).await.unwrap();
    let expected = ["1 submitted", "2 started", "2 output 0", "2 output 0", "3 finished"];
    assert_eq!(all(handle.events()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_late_listener_sees_the_whole_journal_and_no_signals() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("print x")).await.unwrap();
    within(handle.outcome()).await.unwrap();
    assert_eq!(all(handle.events()).await, ["1 submitted", "2 started", "3 finished"]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_comes_in_between_misses_no_entry_and_sees_none_twice() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("sleep 1000")).await.unwrap();
    until(&handle, "started").await;
    assert_eq!(all(handle.events()).await, ["1 submitted", "2 started", "3 finished"]);
}

#[tokio::test(start_paused = true)]
async fn signals_come_after_the_entry_that_they_follow() {
    let house = House::new();
    let crucible = house.build();
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
    // One of an entry that is long past, one that ran ahead of the entry that it follows.
    house.bus.publish(signal(2, 0)).await.unwrap();
    house.bus.publish(signal(3, 1)).await.unwrap();
    house.bus.publish(signal(2, 2)).await.unwrap();
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
async fn a_slow_listener_is_told_what_it_missed_and_misses_no_entry() {
    let house = House::new();
    let crucible = house.build();
    let handle = crucible.submit(command("sleep 1000")).await.unwrap();
    let mut events = handle.events();
    assert_eq!(show(&within(events.next()).await.unwrap()), "1 submitted");
    until(&handle, "started").await;
    // Half of this is more than a listener may be behind.
    for offset in 0..10_000 {
        let kind = EventKind::Output {
            stream: OutputStream::Stdout,
            offset,
            bytes: Bytes::from_static(b"x"),
        };
        house.bus.publish(Arc::new(Event::signal(handle.id(), 2, kind))).await.unwrap();
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
    let heard = rest.iter().filter(|item| item.contains("output")).count() as u64;
    // The start, too, was dropped from the listener's buffer; the journal had it.
    assert_eq!((missed + heard, missed > 0), (10_001, true), "{missed} missed, {heard} heard");
    let first_output = rest.iter().position(|item| item.contains("output")).unwrap();
    assert!(
        rest[..first_output].iter().any(|item| item.starts_with("lagged")),
        "told before the next signal"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_loses_every_event_costs_a_second_and_no_entry() {
    let house = House::new();
    // The first calls are the subscriptions of the platform and of the listener.
    let faults = Faults::planned(|call| if call <= 3 { Fault::None } else { Fault::Before });
    let bus = FaultyBus::new(house.bus.clone(), faults.clone());
    let crucible = house.builder().bus(bus).build().unwrap();
    tokio::task::yield_now().await;
    let handle = crucible.submit(command("sleep 100")).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(all(handle.events()).await, ["1 submitted", "2 started", "3 finished"]);
    assert!(faults.calls() > 3, "events were lost");
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(within(handle.outcome()).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_loses_some_events_makes_no_gap() {
    for seed in 0..200 {
        let house = House::new();
        let bus = FaultyBus::new(
            house.bus.clone(),
            Faults::planned(move |call| {
                let lost = call > 2 && (seed >> (call % 8)) & 1 == 1;
                if lost { Fault::Before } else { Fault::None }
            }),
        );
        let crucible = house.builder().bus(bus).build().unwrap();
        let handle = crucible.submit(command("hang")).await.unwrap();
        let mut events = handle.events();
        let mut seen = Vec::new();
        while let Some(item) = within(events.next()).await {
            // A subscription can be lost too; then the stream says so and ends.
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
        house.ended(handle.id()).await;
    }
}

/// A bus whose subscriptions end by themselves after a few events, as a remote one's do when a connection is cut.
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
async fn a_subscription_that_ends_early_is_made_anew() {
    let house = House::new();
    let crucible = house.builder().bus(CutBus(house.bus.clone())).build().unwrap();
    let handle = crucible.submit(command("hang")).await.unwrap();
    let following = tokio::spawn(all(handle.events()));
    until(&handle, "started").await;
    assert!(handle.cancel().await.unwrap());
    let seen = within(following).await.unwrap();
    assert_eq!(seen, ["1 submitted", "2 started", "3 cancel_requested", "4 cancelled"]);
    assert!(within(handle.outcome()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn everything_on_the_bus_can_be_heard() {
    let house = House::new();
    let crucible = house.build();
    let mut heard = crucible.subscribe(EventFilter::all().without_signals()).await.unwrap();
    let first = within(crucible.evaluate(command("exit 0"))).await;
    let second = within(crucible.evaluate(command("exit 1"))).await;
    assert!(first.is_ok() && second.is_ok());
    for expected in ["submitted", "started", "finished", "submitted", "started", "finished"] {
        let item: Result<Arc<Event>, Lagged> = within(heard.next()).await.unwrap();
        assert_eq!(item.unwrap().kind.name(), expected);
    }
}
