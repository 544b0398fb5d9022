//! A scripted engine and fault-injecting wrappers, for tests only: **they isolate nothing**.

mod fake_engine;
mod fake_run;
mod fake_sandbox;
mod faults;
mod faulty_bus;
mod faulty_engine;
mod faulty_monitor;
mod faulty_queue;
mod faulty_storage;

pub use fake_engine::FakeEngine;
pub use fake_run::FakeRun;
pub use faults::{Fault, Faults, InjectedFault};
pub use faulty_bus::FaultyBus;
pub use faulty_engine::FaultyEngine;
pub use faulty_monitor::FaultyMonitor;
pub use faulty_queue::FaultyQueue;
pub use faulty_storage::FaultyStorage;
