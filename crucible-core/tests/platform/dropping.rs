//! Dropping the last handle on a platform stops it, and leaves nothing behind.

use std::time::Duration;

use crucible_core::{RecordState, Retry, Verdict, WaitError};

use crate::support::{House, MINUTE, command, settle, soon, until, within};

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn tasks_and_sandboxes_go_with_the_platform() {
    let house = House::new();
    let before = tasks();
    for _ in 0..20 {
        let crucible = house.builder().workers(3).build().unwrap();
        let evaluations = (0..5).map(|_| command("hang").with_expires_in(MINUTE * 1000));
        let handles = crucible.submit_many(evaluations).await;
        for handle in &handles[..3] {
            until(handle.as_ref().unwrap(), "started").await;
        }
        assert_eq!(house.engine.open_now(), 3);
        assert!(tasks() > before);
        drop(crucible);
        settle().await;
        assert_eq!((house.engine.open_now(), tasks()), (0, before));
        for handle in handles {
            let handle = handle.unwrap();
            handle.cancel().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_keeps_the_platform() {
    let house = House::new();
    let crucible = house.build();
    let clone = crucible.clone();
    let handle = crucible.submit(command("sleep 5000")).await.unwrap();
    until(&handle, "started").await;
    drop(crucible);
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert!(within(clone.evaluate(command("exit 0"))).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn handles_outlive_the_platform_and_say_so() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
    let ended = crucible.submit(command("exit 3")).await.unwrap();
    within(ended.outcome()).await.unwrap();
    let running = crucible.submit(command("hang")).await.unwrap();
    until(&running, "started").await;
    let waiting = crucible
        .submit(command("hang").with_retry(Retry::default().with_idempotent()))
        .await
        .unwrap();
    drop(crucible);
    assert_eq!(within(ended.outcome()).await.unwrap().verdict(), &Verdict::Exited { code: 3 });
    assert_eq!(within(running.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
    assert!(matches!(within(waiting.outcome()).await, Err(WaitError::Closed { .. })));
    // What waits can still be ended.
    assert!(waiting.cancel().await.unwrap());
    assert_eq!(waiting.status().await.unwrap().state, RecordState::Cancelled);
}

/// The process is gone from one moment to the next, as far as a test can do that: its runtime is dropped with all its
/// tasks. Time is real, for there are two clocks.
#[test]
fn what_a_dead_host_ran_is_run_by_another() {
    let house = House::new();
    let lease = Duration::from_millis(300);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    };
    let dying = runtime();
    let id = dying.block_on(async {
        let crucible = house.builder().lease(lease).host("dying").build().unwrap();
        let handle = crucible.submit(command("sleep 3600000")).await.unwrap();
        soon(until(&handle, "started")).await;
        // Nothing of the platform is told to stop.
        std::mem::forget(crucible);
        handle.id()
    });
    dying.shutdown_timeout(Duration::from_secs(10));
    assert_eq!(house.engine.open_now(), 0, "its sandboxes went with it");
    runtime().block_on(async {
        let heir = house.builder().lease(lease).host("heir").build().unwrap();
        let handle = heir.handle(id);
        soon(until(&handle, "requeued")).await;
        soon(async {
            while handle.status().await.unwrap().state != RecordState::Running {
                settle().await
            }
        })
        .await;
        assert_eq!(handle.status().await.unwrap().attempt, 2);
        assert!(handle.cancel().await.unwrap());
        assert_eq!(soon(handle.outcome()).await.unwrap().verdict(), &Verdict::Cancelled);
        let names = house.names(id).await;
        assert_eq!(
            names,
            ["submitted", "started", "requeued", "started", "cancel_requested", "cancelled"]
        );
    });
}
