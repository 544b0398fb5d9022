//! A bus with injected faults.

use std::sync::Arc;

use async_trait::async_trait;

use super::faults::{Faults, InjectedFault};
use crate::bus::{BusError, EventBus, EventFilter, EventStream};
use crate::journal::Event;

/// A bus that fails with [`BusError::Unavailable`] according to a plan.
#[derive(Debug, Clone)]
pub struct FaultyBus<B> {
    inner: B,
    faults: Faults,
}

impl<B> FaultyBus<B> {
    /// Wraps a bus with a plan.
    #[must_use]
    pub fn new(inner: B, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

fn unavailable(fault: InjectedFault) -> BusError {
    BusError::Unavailable { source: fault.into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: EventBus> EventBus for FaultyBus<B> {
    async fn publish(&self, event: Arc<Event>) -> Result<(), BusError> {
        self.faults.call(self.inner.publish(event), unavailable).await
    }

    async fn subscribe(&self, filter: EventFilter) -> Result<EventStream, BusError> {
        self.faults.call(self.inner.subscribe(filter), unavailable).await
    }
}
