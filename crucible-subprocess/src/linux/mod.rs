//! The engine on Linux. Imports between its folders run in one direction: `engine`, `pool`,
//! `sandbox`, `teardown`, `resources`, and the folders below them.

mod audit;
mod cgroup;
mod channel;
mod egress;
mod engine;
mod interpreter;
mod pool;
mod resources;
mod sandbox;
mod spawner;
mod sys;
mod teardown;

#[cfg(test)]
#[path = "../../tests/fake_guest/mod.rs"]
mod fake_guest;

pub use engine::{SubprocessEngine, doctor};
