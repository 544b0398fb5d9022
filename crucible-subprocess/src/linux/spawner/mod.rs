//! The host's side of the spawner: the small process that creates sandboxes.

mod guest_program;
mod packet_socket;
mod process;
#[expect(clippy::module_inception, reason = "the file is named for its type")]
mod spawner;
mod template_plan;

pub(crate) use process::SpawnerConfig;
pub(crate) use spawner::{SpawnError, Spawner};
pub(crate) use template_plan::TemplatePlan;
