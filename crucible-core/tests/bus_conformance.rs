//! The conformance suite for the in-process bus, its pointers and its wrappers.

use std::sync::Arc;

use crucible_conformance::bus_conformance;
use crucible_core::testing::{Faults, FaultyBus};
use crucible_core::{EventBus, LocalBus};

bus_conformance!(local, || async { LocalBus::new() });
bus_conformance!(shared, || async { Arc::new(LocalBus::new()) as Arc<dyn EventBus> });
bus_conformance!(boxed, || async { Box::new(LocalBus::new()) as Box<dyn EventBus> });
bus_conformance!(without_faults, || async { FaultyBus::new(LocalBus::new(), Faults::none()) });
