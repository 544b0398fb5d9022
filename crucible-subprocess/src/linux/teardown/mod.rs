//! Teardown of ended sandboxes, in threads that outlive the host's runtime.

mod pending_teardown;
mod reaper;
mod remnants;
mod teardown_workers;

pub(crate) use reaper::{Reaper, SandboxCache};
pub(crate) use remnants::Remnants;
