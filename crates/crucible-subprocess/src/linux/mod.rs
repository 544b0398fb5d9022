//! The engine on Linux.

mod ancestry;
mod auditor;
mod cgroup;
mod doctor;
mod egress;
mod engine;
mod errors;
mod exec;
mod files;
mod frames;
mod host;
#[cfg(test)]
mod hostile;
mod ids;
mod janitor;
mod ledger;
mod link;
mod network;
mod outcome;
mod probe;
mod pump;
mod request;
mod sandbox;
mod slot;
mod spawner;
mod status;
mod sys;
mod template;
mod violations;
mod watch;

pub use doctor::doctor;
pub use engine::SubprocessEngine;
