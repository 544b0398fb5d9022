//! Dropping the last handle to a platform.

use std::time::Duration;

use crucible_core::{RecordState, Retry, Verdict, WaitError};

use crate::support::{
    MINUTE, TestPlatform, command, run_until_idle, until, within, within_real_time,
};

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn dropped_platform_leaves_no_task_and_no_sandbox() {
    let test = TestPlatform::new();
    let before = tasks();
    for _ in 0..20 {
        let crucible = test.builder().workers(3).build().unwrap();
        let evaluations = (0..5).map(|_| command("hang").with_expires_in(MINUTE * 1000));
        let handles = crucible.submit_many(evaluations).await;
        for handle in &handles[..3] {
            until(handle.as_ref().unwrap(), "started").await;
        }
        assert_eq!(test.engine.open_now(), 3);
        assert!(tasks() > before);
        drop(crucible);
        run_until_idle().await;
        assert_eq!((test.engine.open_now(), tasks()), (0, before));
        for handle in handles {
            let handle = handle.unwrap();
            handle.cancel().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clone_keeps_the_platform_running() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let clone = crucible.clone();
    let handle = crucible.submit(command("sleep 5000")).await.unwrap();
    until(&handle, "started").await;
    drop(crucible);
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert!(within(clone.evaluate(command("exit 0"))).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn handles_report_a_dropped_platform() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
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
    // A queued evaluation can still be cancelled.
    assert!(waiting.cancel().await.unwrap());
    assert_eq!(waiting.status().await.unwrap().state, RecordState::Cancelled);
}

/// Dropping a runtime with all its tasks simulates a process that dies. Time is real, because two
/// runtimes have two clocks.
#[test]
fn evaluation_of_a_dead_host_runs_on_another() {
    let test = TestPlatform::new();
    let lease = Duration::from_millis(300);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    };
    let dying = runtime();
    let id = dying.block_on(async {
        let crucible = test.builder().lease(lease).host("dying").build().unwrap();
        let handle = crucible.submit(command("sleep 3600000")).await.unwrap();
        within_real_time(until(&handle, "started")).await;
        // The platform gets no signal to stop.
        std::mem::forget(crucible);
        handle.id()
    });
    dying.shutdown_timeout(Duration::from_secs(10));
    assert_eq!(test.engine.open_now(), 0, "the sandboxes of the dead host are closed");
    runtime().block_on(async {
        let successor = test.builder().lease(lease).host("successor").build().unwrap();
        let handle = successor.handle(id);
        within_real_time(until(&handle, "requeued")).await;
        within_real_time(async {
            while handle.status().await.unwrap().state != RecordState::Running {
                run_until_idle().await
            }
        })
        .await;
        assert_eq!(handle.status().await.unwrap().attempt, 2);
        assert!(handle.cancel().await.unwrap());
        assert_eq!(
            within_real_time(handle.outcome()).await.unwrap().verdict(),
            &Verdict::Cancelled
        );
        let names = test.event_names(id).await;
        assert_eq!(
            names,
            ["submitted", "started", "requeued", "started", "cancel_requested", "cancelled"]
        );
    });
}
