//! Implementations of [`Queue`] for `Arc` and `Box`.
//!
//! Each method is forwarded explicitly. The lint `missing_trait_methods` rejects a missing method,
//! which would silently use its default.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::QueueError;
use super::queue_trait::Queue;
use super::stats::QueueStats;
use super::ticket::{Claim, Ticket};
use crate::model::{EvaluationId, WorkerId};

macro_rules! forward {
    ($($pointer:ident)*) => { $(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Queue + ?Sized> Queue for $pointer<T> {
            async fn enqueue(&self, ticket: Ticket) -> Result<(), QueueError> {
                (**self).enqueue(ticket).await
            }

            async fn claim(
                &self,
                worker: &WorkerId,
                lease: Duration,
                wait: Duration,
            ) -> Result<Option<Claim>, QueueError> {
                (**self).claim(worker, lease, wait).await
            }

            async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), QueueError> {
                (**self).extend(claim, lease).await
            }

            async fn ack(&self, claim: &Claim) -> Result<(), QueueError> {
                (**self).ack(claim).await
            }

            async fn nack(&self, claim: &Claim, delay: Duration) -> Result<(), QueueError> {
                (**self).nack(claim, delay).await
            }

            async fn remove(&self, evaluation: EvaluationId) -> Result<bool, QueueError> {
                (**self).remove(evaluation).await
            }

            async fn stats(&self) -> Result<QueueStats, QueueError> {
                (**self).stats().await
            }
        }
    )* };
}

forward!(Arc Box);
