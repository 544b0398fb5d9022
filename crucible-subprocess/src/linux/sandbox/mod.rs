//! An open sandbox: its commands, files and end.

mod context;
mod enforcement;
mod exec;
mod open_sandbox;
mod reservation_guard;
mod status_sampler;
mod streams;
mod subprocess_sandbox;

pub(crate) use context::{ContextParts, SandboxContext, SlotOwner};
pub(crate) use reservation_guard::ReservationGuard;
pub(crate) use subprocess_sandbox::SubprocessSandbox;
