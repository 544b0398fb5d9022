//! The cost of subscribers by their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crucible::bus::EventFilter;
use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage};
use crucible_core::testing::FakeEngine;
use futures::{StreamExt as _, stream};
use tokio::runtime::Runtime;

use super::grouped;
use crate::curve::Curve;
use crate::report::{Report, Table, round};
use crate::scale::Scale;

/// The numbers of subscribers.
const LISTENERS: [usize; 5] = [0, 1, 10, 100, 1_000];
/// Parallel submitters that wait for their outcomes.
const AT_ONCE: usize = 8;

/// The events of all subscribers together.
#[derive(Debug, Default)]
struct ReceivedEvents {
    delivered: AtomicU64,
    missed: AtomicU64,
}

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let runtime = Runtime::new().expect("a runtime");
    let (mut rows, mut curve) = (Vec::new(), Curve::new(["crucible"]));
    for count in LISTENERS {
        let evaluations = scale.subscribed;
        let (us, delivered, missed) = runtime.block_on(measure_subscribers(count, evaluations));
        let of_each = delivered as f64 / evaluations as f64 / count.max(1) as f64;
        let key = format!("growth_listeners_{count}");
        report.set(&key, "us_per_evaluation", round(us));
        report.set(&key, "delivered", delivered);
        report.set(&key, "missed", missed);
        let cells =
            [format!("{us:.1} µs"), grouped(delivered), format!("{of_each:.1}"), grouped(missed)];
        rows.push((grouped(count as u64), cells.into()));
        curve.push(count as f64, [us]);
    }
    report.add(Table {
        name: "growth-listeners",
        title: "Growth: listeners".to_owned(),
        note: format!(
            "Evaluations by {AT_ONCE} parallel submitters over an engine without work, with \
             the given number of subscribers. Events are not copied: each subscriber costs \
             one entry of its ring and one wake-up of its task. The cost is constant per \
             subscriber, and dominates once all subscribers together take longer than the \
             evaluation. Missed events are those for which a ring of 4,096 entries had no \
             space."
        ),
        columns: vec!["per evaluation", "events received", "per event and subscriber", "missed"],
        rows,
        bars: Vec::new(),
        curve: Some(curve),
        unit: "µs an evaluation",
    });
}

/// Returns microseconds per evaluation, received events, and missed events.
async fn measure_subscribers(count: usize, evaluations: usize) -> (f64, u64, u64) {
    let builder = Crucible::builder().engine("only", FakeEngine::new()).workers(AT_ONCE);
    let queue = MemoryQueue::bounded(100);
    let platform = builder.queue(queue).storage(MemoryStorage::new()).build().expect("a platform");
    let received = Arc::new(ReceivedEvents::default());
    let mut listeners = Vec::new();
    for _ in 0..count {
        let mut events = platform.subscribe(EventFilter::all()).await.expect("events");
        let received = Arc::clone(&received);
        listeners.push(tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(_) => received.delivered.fetch_add(1, Ordering::Relaxed),
                    Err(lagged) => received.missed.fetch_add(lagged.missed, Ordering::Relaxed),
                };
            }
        }));
    }
    let began = Instant::now();
    let runs = (0..evaluations).map(|_| {
        let platform = platform.clone();
        async move {
            let run =
                tokio::spawn(async move { platform.evaluate(Evaluation::command(["true"])).await });
            assert!(run.await.expect("no panic").expect("an outcome").is_success(), "it fails");
        }
    });
    stream::iter(runs).buffer_unordered(AT_ONCE).for_each(async |()| ()).await;
    let us = began.elapsed().as_secs_f64() * 1e6 / evaluations as f64;
    // Pending events arrive.
    tokio::time::sleep(Duration::from_millis(200)).await;
    listeners.iter().for_each(tokio::task::JoinHandle::abort);
    (us, received.delivered.load(Ordering::Relaxed), received.missed.load(Ordering::Relaxed))
}
