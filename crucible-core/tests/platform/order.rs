//! Whose evaluation runs next, seen from end to end.

use std::sync::{Arc, Mutex};

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{Crucible, Priority};

use crate::support::{House, command, until, within};

/// A platform with a single worker, and the names of what it ran, in order.
fn house() -> (House, Crucible, Arc<Mutex<Vec<String>>>) {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let engine = FakeEngine::scripted({
        let ran = Arc::clone(&ran);
        move |command| {
            let name = command.argv[1].clone();
            if name == "first" {
                return FakeRun::hang();
            }
            ran.lock().unwrap().push(name);
            FakeRun::exit(0)
        }
    });
    let house = House::with_engine(engine);
    let crucible = house.builder().workers(1).build().unwrap();
    (house, crucible, ran)
}

#[tokio::test(start_paused = true)]
async fn the_more_urgent_runs_first() {
    let (_house, crucible, ran) = house();
    let first = crucible.submit(command("run first")).await.unwrap();
    until(&first, "started").await;
    let mut handles = Vec::new();
    for (name, priority) in [
        ("low", Priority::Low),
        ("normal-1", Priority::Normal),
        ("high-1", Priority::High),
        ("normal-2", Priority::Normal),
        ("high-2", Priority::High),
    ] {
        let evaluation = command(&format!("run {name}")).with_priority(priority);
        handles.push(crucible.submit(evaluation).await.unwrap());
    }
    first.cancel().await.unwrap();
    for handle in handles {
        within(handle.outcome()).await.unwrap();
    }
    assert_eq!(*ran.lock().unwrap(), ["high-1", "high-2", "normal-1", "normal-2", "low"]);
}

#[tokio::test(start_paused = true)]
async fn tenants_take_turns() {
    let (_house, crucible, ran) = house();
    let first = crucible.submit(command("run first")).await.unwrap();
    until(&first, "started").await;
    let mut handles = Vec::new();
    for name in ["a1", "a2", "a3", "a4", "b1", "b2", "c1"] {
        let evaluation = command(&format!("run {name}")).with_tenant(&name[..1]);
        handles.push(crucible.submit(evaluation).await.unwrap());
    }
    first.cancel().await.unwrap();
    for handle in handles {
        within(handle.outcome()).await.unwrap();
    }
    assert_eq!(*ran.lock().unwrap(), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_there_are_workers() {
    let house = House::new();
    let crucible = house.builder().workers(3).build().unwrap();
    let evaluations = (0..20).map(|_| command("sleep 100"));
    for handle in crucible.submit_many(evaluations).await {
        assert!(within(handle.unwrap().outcome()).await.unwrap().is_success());
    }
    assert_eq!((house.engine.open_peak(), house.engine.opened()), (3, 20));
}
