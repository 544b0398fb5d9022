//! The attempts that run in this process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::model::EvaluationId;

/// The attempts that run in this process, by evaluation.
#[derive(Debug, Default)]
pub(super) struct RunningAttempts(Mutex<HashMap<EvaluationId, RunningAttempt>>);

#[derive(Debug)]
struct RunningAttempt {
    attempt: u32,
    cancel: CancellationToken,
}

/// Keeps an attempt registered. Dropping it removes the attempt.
#[derive(Debug)]
pub(super) struct AttemptRegistration<'a> {
    attempts: &'a RunningAttempts,
    id: EvaluationId,
    attempt: u32,
}

impl RunningAttempts {
    /// Adds an attempt, in place of an earlier one of the same evaluation.
    pub(super) fn register(
        &self,
        id: EvaluationId,
        attempt: u32,
        cancel: CancellationToken,
    ) -> AttemptRegistration<'_> {
        self.lock().insert(id, RunningAttempt { attempt, cancel });
        AttemptRegistration { attempts: self, id, attempt }
    }

    /// Cancels the attempt at an evaluation, if one runs in this process.
    pub(super) fn cancel(&self, id: EvaluationId) {
        if let Some(running) = self.lock().get(&id) {
            running.cancel.cancel();
        }
    }

    /// Returns the number of running attempts.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EvaluationId, RunningAttempt>> {
        // A plain map is consistent between statements, so a poisoned lock is safe to use.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AttemptRegistration<'_> {
    fn drop(&mut self) {
        let mut running = self.attempts.lock();
        // A worker may notice its lost lease after another worker of this process has started the
        // next attempt. That attempt stays registered.
        if running.get(&self.id).is_some_and(|running| running.attempt == self.attempt) {
            running.remove(&self.id);
        }
    }
}
