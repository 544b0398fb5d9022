//! The implementations for `Arc` and `Box`.
//!
//! Each method is forwarded by hand. The lint `missing_trait_methods` rejects a missing method,
//! which would silently use its default.

use std::sync::Arc;

use async_trait::async_trait;

use super::event_bus::{BusError, EventBus, EventFilter, EventStream};
use crate::journal::Event;

macro_rules! forward {
    ($($pointer:ident)*) => { $(
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
    )* };
}

forward!(Arc Box);
