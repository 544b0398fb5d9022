//! The order of evaluations.

use std::sync::{Arc, Mutex};

use crucible_core::testing::{FakeEngine, FakeRun};
use crucible_core::{Crucible, Priority};

use crate::support::{TestPlatform, command, until, within};

/// Returns a platform with one worker, and the names of its runs in order.
fn test() -> (TestPlatform, Crucible, Arc<Mutex<Vec<String>>>) {
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
    let test = TestPlatform::with_engine(engine);
    let crucible = test.builder().workers(1).build().unwrap();
    (test, crucible, ran)
}

#[tokio::test(start_paused = true)]
async fn higher_priority_runs_first() {
    let (_house, crucible, ran) = test();
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
    let (_house, crucible, ran) = test();
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
async fn concurrent_runs_are_bounded_by_workers() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(3).build().unwrap();
    let evaluations = (0..20).map(|_| command("sleep 100"));
    for handle in crucible.submit_many(evaluations).await {
        assert!(within(handle.unwrap().outcome()).await.unwrap().is_success());
    }
    assert_eq!((test.engine.open_peak(), test.engine.opened()), (3, 20));
}
