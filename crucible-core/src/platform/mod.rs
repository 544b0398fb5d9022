//! The platform: what takes an evaluation from `submit` to its outcome.

mod accept;
mod attempt;
mod builder;
mod cancel;
mod commit;
mod conclude;
mod crucible;
mod error;
mod events;
mod execute;
mod expiry;
mod handle;
mod keeper;
mod purge;
mod recover;
mod redrive;
mod shared;
mod submit;
mod turns;
mod worker;

pub use builder::{BuildError, CrucibleBuilder};
pub use crucible::{Crucible, PlatformStats, ShutdownReport};
pub use error::{EvaluateError, SubmitError, WaitError};
pub use events::{Events, EventsError};
pub use handle::Handle;
pub use purge::{PurgeError, PurgeReport, Retention, purge_storage};
pub use recover::{RecoverError, RecoveryReport};
pub use redrive::RedriveError;
pub use submit::SubmitOptions;
