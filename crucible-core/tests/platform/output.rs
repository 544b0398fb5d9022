//! Output that a caller attached to: without loss, and without a way to hold anything up for ever.

use std::time::Duration;

use crucible_core::{Limit, Limits, SubmitOptions, Verdict};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engines::Talkative;
use crate::support::{House, command, settle, until, within};

fn talk(pieces: u64) -> crucible_core::Evaluation {
    command(&format!("talk {pieces}"))
        .with_engine("talkative")
        .with_limits(Limits::new().with_wall(Duration::from_secs(10)))
}

#[tokio::test(start_paused = true)]
async fn every_piece_comes_in_order_and_then_the_end() {
    let house = House::new();
    let crucible = house.builder().engine("talkative", Talkative).build().unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    let handle =
        crucible.submit_with(talk(1000), SubmitOptions::new().with_output(sender)).await.unwrap();
    let reading = async {
        let mut expected = 0;
        while let Some(piece) = receiver.recv().await {
            assert_eq!(piece.bytes, format!("{expected:010}"));
            assert_eq!(piece.offset, expected * 10);
            expected += 1;
            if expected % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        expected
    };
    let (pieces, outcome) = within(async { tokio::join!(reading, handle.outcome()) }).await;
    assert_eq!((pieces, outcome.unwrap().verdict()), (1000, &Verdict::Exited { code: 0 }));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_dropped_disturbs_nothing() {
    let house = House::new();
    let crucible = house.builder().engine("talkative", Talkative).build().unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    let handle =
        crucible.submit_with(talk(1000), SubmitOptions::new().with_output(sender)).await.unwrap();
    assert!(within(receiver.recv()).await.is_some());
    drop(receiver);
    let began = Instant::now();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stalls_delays_the_outcome_a_little() {
    let house = House::new();
    let crucible = house.builder().engine("talkative", Talkative).build().unwrap();
    // Few enough pieces that the engine gets rid of all: only the platform waits, and not for long.
    let (sender, receiver) = mpsc::channel(1);
    let handle =
        crucible.submit_with(talk(20), SubmitOptions::new().with_output(sender)).await.unwrap();
    let began = Instant::now();
    assert!(within(handle.outcome()).await.unwrap().is_success());
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    drop(receiver);
    // So many that the program has to wait: its limits run on, and end it.
    let (sender, receiver) = mpsc::channel(1);
    let handle =
        crucible.submit_with(talk(1000), SubmitOptions::new().with_output(sender)).await.unwrap();
    let began = Instant::now();
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!(outcome.verdict(), &Verdict::LimitExceeded { limit: Limit::Wall });
    assert_eq!(began.elapsed(), Duration::from_secs(10 + 5));
    drop(receiver);
    // The workers are free again.
    assert!(within(crucible.evaluate(command("exit 0"))).await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn whoever_attached_is_let_go_however_it_ends() {
    let house = House::new();
    let crucible = house.builder().workers(1).build().unwrap();
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
    settle().await;
    assert!(
        of_cancelled
            .try_recv()
            .is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected)
    );
    assert_eq!(within(of_expired.recv()).await, None);
    assert!(of_failed.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Empty));
    let began = Instant::now();
    assert!(first.cancel().await.unwrap());
    assert_eq!(within(of_failed.recv()).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
    // One that was not accepted.
    let (sender, mut of_refused) = mpsc::channel(1);
    let invalid = command("exit 0").with_label("", "");
    assert!(crucible.submit_with(invalid, SubmitOptions::new().with_output(sender)).await.is_err());
    assert!(
        of_refused.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected)
    );
}
