//! The traits through pointers: whatever is behind `Arc` or `Box` is what it points to.
//!
//! Every method is forwarded by hand and the lint sees to it: a method with a default that was forgotten here would
//! silently fall back to the default.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::bus::{BusError, EventBus, EventFilter, EventStream};
use crate::engine::engine::{Engine, EngineInfo, RunContext};
use crate::engine::error::EngineError;
use crate::engine::sandbox::{Sandbox, SandboxSpec};
use crate::journal::event::Event;
use crate::journal::record::Record;
use crate::model::digest::Digest;
use crate::model::evaluation::Evaluation;
use crate::model::id::{EvaluationId, WorkerId};
use crate::monitor::monitor::Monitor;
use crate::queue::{Claim, Queue, QueueError, QueueStats, Ticket};
use crate::result::outcome::Outcome;
use crate::storage::storage::{Page, RecordQuery, Storage, StorageError};

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

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Storage + ?Sized> Storage for $pointer<T> {
            async fn append(
                &self,
                id: EvaluationId,
                expected: u64,
                events: Vec<Event>,
            ) -> Result<Record, StorageError> {
                (**self).append(id, expected, events).await
            }

            async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
                (**self).record(id).await
            }

            async fn records(&self, query: &RecordQuery) -> Result<Page, StorageError> {
                (**self).records(query).await
            }

            async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
                (**self).journal(id, after).await
            }

            async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
                (**self).put_blob(content).await
            }

            async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
                (**self).blob(digest).await
            }

            async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
                (**self).remove(id, expected).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: EventBus + ?Sized> EventBus for $pointer<T> {
            async fn publish(&self, event: Arc<Event>) -> Result<(), BusError> {
                (**self).publish(event).await
            }

            async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError> {
                (**self).subscribe(filter).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<T: Monitor + ?Sized> Monitor for $pointer<T> {
            fn observe(&self, event: &Event) {
                (**self).observe(event);
            }
        }
    )* };
}

forward!(Arc Box);
