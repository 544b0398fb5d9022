//! Live output on a channel of the caller.

use std::time::Duration;

use crucible_core::{Limit, Limits, SubmitOptions, Verdict};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engines::OutputEngine;
use crate::support::{TestPlatform, command, run_until_idle, until, within};

fn write_chunks(chunks: u64) -> crucible_core::Evaluation {
    command(&format!("write {chunks}"))
        .with_engine("output")
        .with_limits(Limits::new().with_wall(Duration::from_secs(10)))
}

#[tokio::test(start_paused = true)]
async fn attached_output_is_complete_and_in_order() {
    let test = TestPlatform::new();
    let crucible = test.builder().engine("output", OutputEngine).build().unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    let handle = crucible
        .submit_with(write_chunks(1000), SubmitOptions::new().with_output(sender))
        .await
        .unwrap();
    let reading = async {
        let mut expected = 0;
        while let Some(chunk) = receiver.recv().await {
            assert_eq!(chunk.bytes, format!("{expected:010}"));
            assert_eq!(chunk.offset, expected * 10);
            expected += 1;
            if expected % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        expected
    };
    let (chunks, outcome) = within(async { tokio::join!(reading, handle.outcome()) }).await;
    assert_eq!((chunks, outcome.unwrap().verdict()), (1000, &Verdict::Exited { code: 0 }));
}

#[tokio::test(start_paused = true)]
async fn dropped_output_receiver_does_not_delay_the_run() {
    let test = TestPlatform::new();
    let crucible = test.builder().engine("output", OutputEngine).build().unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    let handle = crucible
        .submit_with(write_chunks(1000), SubmitOptions::new().with_output(sender))
        .await
        .unwrap();
    assert!(within(receiver.recv()).await.is_some());
    drop(receiver);
    let started_at = Instant::now();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(started_at.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn stalled_output_receiver_delays_within_bounds() {
    let test = TestPlatform::new();
    let crucible = test.builder().engine("output", OutputEngine).build().unwrap();
    // The engine can send all of these chunks. Only the platform waits, up to its grace period.
    let (sender, receiver) = mpsc::channel(1);
    let handle = crucible
        .submit_with(write_chunks(20), SubmitOptions::new().with_output(sender))
        .await
        .unwrap();
    let started_at = Instant::now();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(started_at.elapsed(), Duration::from_secs(5));
    drop(receiver);
    // The program has to wait for these chunks, and its wall limit ends it.
    let (sender, receiver) = mpsc::channel(1);
    let handle = crucible
        .submit_with(write_chunks(1000), SubmitOptions::new().with_output(sender))
        .await
        .unwrap();
    let started_at = Instant::now();
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!(outcome.verdict(), &Verdict::LimitExceeded { limit: Limit::Wall });
    assert_eq!(started_at.elapsed(), Duration::from_secs(10 + 5));
    drop(receiver);
    // The workers are available again.
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn output_channel_closes_on_every_ending() {
    let test = TestPlatform::new();
    let crucible = test.builder().workers(1).build().unwrap();
    let first = crucible.submit(command("hang")).await.unwrap();
    until(&first, "started").await;
    let attach = async |evaluation| {
        let (sender, receiver) = mpsc::channel(1);
        let handle = crucible
            .submit_with(evaluation, SubmitOptions::new().with_output(sender))
            .await
            .unwrap();
        (handle, receiver)
    };
    let (cancelled, mut of_cancelled) = attach(command("exit 0")).await;
    let (_expired, mut of_expired) =
        attach(command("exit 0").with_expires_in(Duration::from_secs(60))).await;
    let (_failed, mut of_failed) = attach(command("closed")).await;
    assert!(cancelled.cancel().await.unwrap());
    run_until_idle().await;
    assert!(
        of_cancelled
            .try_recv()
            .is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected)
    );
    assert_eq!(within(of_expired.recv()).await, None);
    assert!(of_failed.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Empty));
    let started_at = Instant::now();
    assert!(first.cancel().await.unwrap());
    assert_eq!(within(of_failed.recv()).await, None);
    assert_eq!(started_at.elapsed(), Duration::ZERO);
    // The platform does not accept this evaluation.
    let (sender, mut of_refused) = mpsc::channel(1);
    let invalid = command("exit 0").with_label("", "");
    assert!(crucible.submit_with(invalid, SubmitOptions::new().with_output(sender)).await.is_err());
    assert!(
        of_refused.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected)
    );
}
