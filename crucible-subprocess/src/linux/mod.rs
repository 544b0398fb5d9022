//! The engine on Linux.

mod ancestry;
mod auditor;
mod build;
mod cgroup;
mod doctor;
mod egress;
mod engine;
mod exec;
mod frames;
mod holdings;
mod host;
#[cfg(test)]
mod hostile;
mod ids;
mod interpreter;
mod janitor;
mod lease;
mod link;
mod network;
mod outcome;
mod preopen;
mod probe;
mod pump;
mod resources;
mod returning;
mod sandbox;
mod slot;
mod slots;
mod socket;
mod spawner;
mod sys;
mod template;
mod undertakers;
mod violations;
mod word;

pub use doctor::doctor;
pub use engine::SubprocessEngine;
