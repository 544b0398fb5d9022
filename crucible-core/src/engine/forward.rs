//! Implementations of [`Engine`] for `Arc` and `Box`.
//!
//! Each method is forwarded explicitly. The lint `missing_trait_methods` rejects a missing method,
//! which would silently use its default.

use std::sync::Arc;

use async_trait::async_trait;

use super::context::RunContext;
use super::engine_trait::Engine;
use super::error::EngineError;
use super::info::EngineInfo;
use super::sandbox::Sandbox;
use super::sandbox_spec::SandboxSpec;
use crate::model::Evaluation;
use crate::result::Outcome;

macro_rules! forward {
    ($($pointer:ident)*) => { $(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Engine + ?Sized> Engine for $pointer<T> {
            fn info(&self) -> EngineInfo {
                (**self).info()
            }

            async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
                (**self).open(spec).await
            }

            async fn run(
                &self,
                evaluation: &Evaluation,
                context: &RunContext,
            ) -> Result<Outcome, EngineError> {
                (**self).run(evaluation, context).await
            }

            async fn health(&self) -> Result<(), EngineError> {
                (**self).health().await
            }
        }
    )* };
}

forward!(Arc Box);
