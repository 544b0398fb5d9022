//! The words, the traits and the platform of Crucible: run programs that nobody trusts, and learn truthfully what came
//! of them.
//!
//! An [`Evaluation`] says what to run; an [`Engine`] isolates it; a [`Queue`] says what is next; a [`Storage`] keeps the
//! truth as journals of [`Event`]s; an [`EventBus`] tells whoever listens; [`Monitor`]s observe. [`Crucible`] composes
//! them. What comes back is an [`Outcome`]: a [`Verdict`] that follows from [`Evidence`] by one pure function,
//! [`judge()`], and from nothing else.
//!
//! This crate knows no backend. It isolates nothing by itself: the engine in this example plays a script.
//!
//! ```
//! use crucible_core::testing::{FakeEngine, Play};
//! use crucible_core::{Crucible, Evaluation};
//! use crucible_queue::MemoryQueue;
//! use crucible_storage::MemoryStorage;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let crucible = Crucible::builder()
//!     .engine("fake", FakeEngine::scripted(|_| Play::exit(0).with_stdout("42\n")))
//!     .queue(MemoryQueue::bounded(10_000))
//!     .storage(MemoryStorage::new())
//!     .build()?;
//! let outcome = crucible.evaluate(Evaluation::python("print(6 * 7)")).await?;
//! assert!(outcome.is_success());
//! assert_eq!(outcome.stdout.to_text(), "42\n");
//! # Ok(())
//! # }
//! ```
//!
//! # Three kinds of failure, three types
//!
//! - the *program's*: `Ok(Outcome)` with its [`Verdict`];
//! - the *infrastructure's*: [`EngineError`], [`QueueError`], [`StorageError`], [`BusError`], each with `kind` and
//!   `is_retryable`;
//! - the *caller's*: [`InvalidInput`], which lists every problem at once.
//!
//! # Features
//!
//! - `checkpoint`: signed statements on all journals of a storage. Off by default.
//! - `testing`: a scripted engine that isolates nothing and fault-injecting wrappers for every trait. Off by default;
//!   for tests only.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod artifact;
mod bus;
mod canonical;
mod captured;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
mod collect;
mod command;
mod counters;
mod difference;
mod digest;
mod enforcement;
mod engine;
mod engine_error;
mod evaluation;
mod event;
mod evidence;
mod forward;
mod host_report;
mod id;
mod journal;
mod judge;
mod language;
mod layer;
mod limits;
mod local_bus;
#[cfg(feature = "checkpoint")]
pub mod merkle;
mod monitor;
mod network;
mod outcome;
mod output;
mod path;
mod plan;
mod platform;
mod problem;
mod queue;
mod record;
mod retry;
mod run;
mod sandbox;
mod secret;
mod signal;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod tracing_monitor;
mod usage;
mod verdict;
mod verification;
mod wire_bytes;

pub use artifact::{Artifact, SkipReason, Skipped};
pub use bus::{BusError, EventBus, EventFilter, EventStream, Lagged};
pub use captured::{Capture, Captured, OutputStream};
pub use collect::Collect;
pub use command::{Command, EnvValue};
pub use counters::{Counters, Counts};
pub use difference::Difference;
pub use digest::{Digest, DigestStream, ParseDigestError};
pub use enforcement::{Enforcement, LayerReport, LayerStatus};
pub use engine::{Engine, EngineInfo, RunContext};
pub use engine_error::{
    BoxError, EngineError, EngineErrorKind, ErrorReport, FileReason, MissingLayer, chain,
};
pub use evaluation::{Evaluation, InputFile, Priority, Program};
pub use event::{Event, EventKind, RequeueReason};
pub use evidence::{Evidence, KillReason};
pub use host_report::{HostFact, HostReport, LayerProbe};
pub use id::{ClaimId, EvaluationId, ParseIdError, WorkerId};
pub use journal::{VerifyError, verify, verify_against};
pub use judge::{ending, judge};
pub use language::{Compile, Language, Languages};
pub use layer::{Isolation, Layer, ParseLayerError};
pub use limits::{Limit, Limits, ParseLimitError};
pub use local_bus::LocalBus;
pub use monitor::{Monitor, Monitors};
pub use network::{Endpoint, Network, ParseEndpointError};
pub use outcome::{Outcome, WIRE_VERSION};
pub use output::{OutputChunk, OutputSink};
pub use path::{SandboxPath, SandboxPathError};
pub use plan::{Plan, PlannedCompile, PlannedFile};
pub use platform::{
    BuildError, Builder, Crucible, EvaluateError, Events, EventsError, Handle, PlatformStats, PurgeError,
    Purged, RecoverError, RecoveryReport, RedriveError, Retention, ShutdownReport, SubmitError,
    SubmitOptions, WaitError, purge_storage,
};
pub use problem::{InvalidInput, Problem};
pub use queue::{Claim, Queue, QueueError, QueueErrorKind, QueueStats, Ticket};
pub use record::{ParseStateError, Record, State, TransitionError};
pub use retry::Retry;
pub use run::run_over;
pub use sandbox::{After, Entry, EntryKind, ExecIo, Exit, Listing, Sandbox, SandboxSpec, Stdin};
pub use secret::Secret;
pub use signal::{ParseSignalError, Signal};
pub use storage::{Damaged, Page, RecordQuery, Storage, StorageError, StorageErrorKind};
pub use time::Timestamp;
pub use tracing_monitor::TracingMonitor;
pub use usage::Usage;
pub use verdict::{Blame, Ending, NotStartedReason, Verdict};
pub use verification::{Verification, verify_storage};
