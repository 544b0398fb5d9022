//! The evaluations that this process accepted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::engine::OutputChunk;
use crate::model::{Evaluation, EvaluationId};

/// The parts of accepted evaluations that are never stored: values of secrets, output channels.
#[derive(Default)]
pub(super) struct AcceptedEvaluations(Mutex<HashMap<EvaluationId, AcceptedEvaluation>>);

/// An evaluation with the values of its secrets, and the channel for its output.
#[derive(Clone)]
pub(super) struct AcceptedEvaluation {
    pub(super) evaluation: Arc<Evaluation>,
    pub(super) output: Option<mpsc::Sender<OutputChunk>>,
}

impl AcceptedEvaluations {
    pub(super) fn insert(&self, id: EvaluationId, accepted: AcceptedEvaluation) {
        self.lock().insert(id, accepted);
    }

    pub(super) fn remove(&self, id: EvaluationId) {
        self.lock().remove(&id);
    }

    pub(super) fn get(&self, id: EvaluationId) -> Option<AcceptedEvaluation> {
        self.lock().get(&id).cloned()
    }

    pub(super) fn ids(&self) -> Vec<EvaluationId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EvaluationId, AcceptedEvaluation>> {
        // A plain map is consistent between statements, so a poisoned lock is safe to use.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AcceptedEvaluations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The evaluations contain secrets.
        f.debug_tuple("AcceptedEvaluations").field(&self.lock().len()).finish()
    }
}
