//! The purge of ended evaluations.

use std::time::Duration;

use crucible_core::{PurgeError, RecordState, Retention, Storage as _};

use crate::support::{MINUTE, TestPlatform, command, ended, within};

const NOW: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn purge_removes_only_ended_evaluations() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let mut done = Vec::new();
    for text in ["exit 0", "exit 1", "closed"] {
        let handle = crucible.submit(command(text)).await.unwrap();
        ended(&handle).await;
        done.push(handle.id());
    }
    let hangs = crucible.submit(command("hang")).await.unwrap();
    crate::support::until(&hangs, "started").await;
    // No evaluation is an hour old.
    let purged = crucible.purge(&Retention::older_than(60 * MINUTE)).await.unwrap();
    assert_eq!((purged.removed, purged.corrupt.len()), (0, 0));
    let purged = crucible.purge(&Retention::older_than(NOW)).await.unwrap();
    assert_eq!(purged.removed, 3);
    for id in done {
        assert_eq!(crucible.record(id).await.unwrap(), None);
        assert!(test.storage.journal(id, 0).await.unwrap().is_empty());
    }
    assert_eq!(crucible.record(hangs.id()).await.unwrap().unwrap().state, RecordState::Running);
    assert!(crucible.verify().await.unwrap().is_sound());
}

#[tokio::test(start_paused = true)]
async fn purge_selects_by_state_tenant_and_label() {
    let test = TestPlatform::new();
    let crucible = test.build();
    let mut handles = Vec::new();
    for number in 0..250 {
        let evaluation = command(["exit 0", "closed"][number % 2])
            .with_tenant(["a", "b"][number / 2 % 2])
            .with_label("course", ["x", "y", "z"][number % 3]);
        handles.push(crucible.submit(evaluation).await.unwrap());
    }
    for handle in &handles {
        within(ended(handle)).await;
    }
    let retention = || {
        Retention::older_than(NOW)
            .with_state(RecordState::Failed)
            .with_tenant("a")
            .with_label("course", "x")
    };
    let chosen = |number: usize| number % 4 == 1 && number.is_multiple_of(3);
    let expected = (0..250).filter(|number| chosen(*number)).count() as u64;
    assert_eq!(crucible.purge(&retention()).await.unwrap().removed, expected);
    assert_eq!(crucible.purge(&retention()).await.unwrap().removed, 0);
    for (number, handle) in handles.iter().enumerate() {
        assert_eq!(
            crucible.record(handle.id()).await.unwrap().is_none(),
            chosen(number),
            "{number}"
        );
    }
    assert_eq!(crucible.purge(&Retention::older_than(NOW)).await.unwrap().removed, 250 - expected);
}

#[tokio::test(start_paused = true)]
async fn purge_of_a_live_state_is_refused() {
    let crucible = TestPlatform::new().build();
    let retention =
        Retention::older_than(NOW).with_state(RecordState::Failed).with_state(RecordState::Queued);
    let error = crucible.purge(&retention).await.unwrap_err();
    assert!(matches!(error, PurgeError::Invalid(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn purge_frees_the_idempotency_key() {
    let crucible = TestPlatform::new().build();
    let evaluation = || command("exit 0").with_idempotency_key("once");
    let first = crucible.submit(evaluation()).await.unwrap();
    ended(&first).await;
    assert_eq!(crucible.submit(evaluation()).await.unwrap().id(), first.id());
    crucible.purge(&Retention::older_than(NOW)).await.unwrap();
    assert_ne!(crucible.submit(evaluation()).await.unwrap().id(), first.id());
}
