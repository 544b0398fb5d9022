//! The host's side of the spawner: the small process that creates sandboxes.

mod guest_program;
mod packet_socket;
mod process;
mod root_template;
#[expect(clippy::module_inception, reason = "the file is named for its type")]
mod spawner;

pub(crate) use process::SpawnerConfig;
pub(crate) use root_template::RootTemplate;
pub(crate) use spawner::{SpawnError, Spawner};
