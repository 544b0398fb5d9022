//! An engine with injected faults.

use async_trait::async_trait;

use super::faults::{Faults, InjectedFault};
use crate::engine::{Engine, EngineError, EngineInfo, RunContext, Sandbox, SandboxSpec};
use crate::model::Evaluation;
use crate::result::Outcome;

/// An engine that fails according to a plan.
///
/// `open` and `health` fail with [`EngineError::Unavailable`], `run` fails with
/// [`EngineError::Lost`].
#[derive(Debug, Clone)]
pub struct FaultyEngine<E> {
    inner: E,
    faults: Faults,
    started: bool,
}

impl<E> FaultyEngine<E> {
    /// Wraps an engine with a plan. A failed run reports that its program had not started.
    #[must_use]
    pub fn new(inner: E, faults: Faults) -> Self {
        Self { inner, faults, started: false }
    }

    /// Makes a failed run report that its program had started.
    #[must_use]
    pub fn with_started(mut self) -> Self {
        self.started = true;
        self
    }
}

fn unavailable(fault: InjectedFault) -> EngineError {
    EngineError::Unavailable { what: "the engine".to_owned(), source: Some(fault.into()) }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<E: Engine> Engine for FaultyEngine<E> {
    fn info(&self) -> EngineInfo {
        self.inner.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        self.faults.call(self.inner.open(spec), unavailable).await
    }

    async fn run(
        &self,
        evaluation: &Evaluation,
        context: &RunContext,
    ) -> Result<Outcome, EngineError> {
        let started = self.started;
        let lost = move |fault: InjectedFault| EngineError::Lost {
            doing: "running".to_owned(),
            started,
            source: Some(fault.into()),
        };
        self.faults.call(self.inner.run(evaluation, context), lost).await
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.faults.call(self.inner.health(), unavailable).await
    }
}
