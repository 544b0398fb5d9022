//! The engine: its creation, its sandboxes, and the report about the host.

mod doctor;
mod engine_state;
mod layer_errors;
mod probe;
mod startup;
mod subprocess_engine;

pub use doctor::doctor;
pub use subprocess_engine::SubprocessEngine;
