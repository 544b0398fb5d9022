//! An engine that fails on purpose.

use async_trait::async_trait;

use super::faults::{Faults, InjectedFault};
use crate::engine::{Engine, EngineError, EngineInfo, RunContext, Sandbox, SandboxSpec};
use crate::model::Evaluation;
use crate::result::Outcome;

/// An engine whose calls fail as [`Faults`] say: `open` and `health` with [`EngineError::Unavailable`], `run` with
/// [`EngineError::Lost`], the program having started if the fault comes after.
#[derive(Debug, Clone)]
pub struct FaultyEngine<E> {
    inner: E,
    faults: Faults,
    started: bool,
}

impl<E> FaultyEngine<E> {
    /// Wraps an engine. A run that fails says that its program had not started.
    #[must_use]
    pub fn new(inner: E, faults: Faults) -> Self {
        Self { inner, faults, started: false }
    }

    /// A run that fails says that its program had started.
    #[must_use]
    pub fn with_started(mut self) -> Self {
        self.started = true;
        self
    }
}

fn away(fault: InjectedFault) -> EngineError {
    EngineError::Unavailable { what: "the engine".to_owned(), source: Some(fault.into()) }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<E: Engine> Engine for FaultyEngine<E> {
    fn info(&self) -> EngineInfo {
        self.inner.info()
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        self.faults.call(self.inner.open(spec), away).await
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
        self.faults.call(self.inner.health(), away).await
    }
}
