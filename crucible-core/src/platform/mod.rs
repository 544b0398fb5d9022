//! The platform, which takes an evaluation from `submit` to its outcome.

mod accepted_evaluations;
mod attempt;
mod backoff;
mod builder;
mod cancel_listener;
mod crucible;
mod error;
mod events;
mod expirer;
mod expiry_queue;
mod handle;
mod journal_writer;
mod keyed_locks;
#[expect(clippy::module_inception, reason = "a file is named for the type in it")]
mod platform;
mod purge;
mod recovery;
mod redrive;
mod refusal;
mod running_attempts;
mod submission;
mod submit;
mod worker;

pub use builder::{BuildError, CrucibleBuilder};
pub use crucible::{Crucible, PlatformStats, ShutdownReport};
pub use error::{EvaluateError, SubmitError, WaitError};
pub use events::{Events, EventsError};
pub use handle::Handle;
pub use purge::{PurgeError, PurgeReport, Retention, purge_storage};
pub use recovery::{RecoverError, RecoveryReport};
pub use redrive::RedriveError;
pub use submit::SubmitOptions;
