//! One writer at a time, an evaluation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::model::EvaluationId;

/// Lets one task of this process at a time write to an evaluation's journal and tell of it, so that monitors and
/// listeners hear of entries in their order. That the *journal* is sound does not depend on it: `append` sees to that.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Those that somebody has or waits for.
    locks: Mutex<HashMap<EvaluationId, Arc<tokio::sync::Mutex<()>>>>,
}

/// The right to write and to tell, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    evaluation: EvaluationId,
    /// `None` while it is waited for.
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody else of this process writes to the evaluation's journal.
    pub(super) async fn take(&self, evaluation: EvaluationId) -> Turn<'_> {
        let lock = Arc::clone(self.lock().entry(evaluation).or_default());
        // Made first, so that a wait that is given up is cleaned up after like a turn that is over.
        let mut turn = Turn { turns: self, evaluation, held: None };
        turn.held = Some(lock.lock_owned().await);
        turn
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EvaluationId, Arc<tokio::sync::Mutex<()>>>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut locks = self.turns.lock();
        self.held = None;
        // Nobody can come to have the lock meanwhile but through the map.
        if locks.get(&self.evaluation).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.evaluation);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_of_one_evaluation_follow_one_another_and_nothing_is_left_of_them() {
        let turns = Arc::new(Turns::default());
        let (one, another) = (EvaluationId::new(), EvaluationId::new());
        let first = turns.take(one).await;
        let _independent = turns.take(another).await;
        let given_up = tokio::time::timeout(Duration::from_secs(1), turns.take(one));
        assert!(given_up.await.is_err(), "the turn is taken");
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { drop(turns.take(one).await) }
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.unwrap();
        assert_eq!(turns.lock().len(), 1, "only the independent one is left");
    }
}
