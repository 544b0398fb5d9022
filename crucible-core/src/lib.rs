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
//! use crucible_core::testing::{FakeEngine, FakeRun};
//! use crucible_core::{Crucible, Evaluation};
//! use crucible_queue::MemoryQueue;
//! use crucible_storage::MemoryStorage;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let crucible = Crucible::builder()
//!     .engine("fake", FakeEngine::scripted(|_| FakeRun::exit(0).with_stdout("42\n")))
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

mod bus;
mod engine;
mod journal;
mod model;
mod monitor;
mod platform;
mod queue;
mod result;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;

pub use bus::bus::{BusError, EventBus, EventFilter, EventStream, Lagged};
pub use bus::local_bus::LocalBus;
pub use engine::deviation::Deviation;
pub use engine::engine::{Engine, EngineInfo, RunContext};
pub use engine::error::{
    BoxError, EngineError, EngineErrorKind, ErrorReport, FileReason, UnavailableMechanism,
    error_chain,
};
pub use engine::host_report::{HostFact, HostReport, LayerProbe};
pub use engine::output::{OutputChunk, OutputSink};
pub use engine::plan::{Plan, PlannedCompile, PlannedFile};
pub use engine::run::run_in_sandboxes;
pub use engine::sandbox::{
    Entry, EntryKind, ExecOptions, ExecOutcome, Listing, OnExit, Sandbox, SandboxSpec, Stdin,
};
pub use journal::event::{Event, EventKind, RequeueReason};
pub use journal::record::{ParseStateError, Record, State, TransitionError};
pub use journal::verification::{Verification, verify_storage};
pub use journal::verify::{VerifyError, verify, verify_against};
#[cfg(feature = "checkpoint")]
pub use journal::{checkpoint, merkle};
pub use model::collect::Collect;
pub use model::command::{Command, EnvValue};
pub use model::digest::{Digest, DigestStream, ParseDigestError};
pub use model::evaluation::{Evaluation, InputFile, Priority, Program};
pub use model::id::{ClaimId, EvaluationId, ParseIdError, WorkerId};
pub use model::language::{Compile, Language, Languages};
pub use model::layer::{Isolation, Layer, ParseLayerError};
pub use model::limits::{Limit, Limits, ParseLimitError};
pub use model::network::{Endpoint, Network, ParseEndpointError};
pub use model::path::{SandboxPath, SandboxPathError};
pub use model::problem::{InvalidInput, Problem};
pub use model::retry::Retry;
pub use model::secret::Secret;
pub use model::signal::{ParseSignalError, Signal};
pub use model::time::Timestamp;
pub use monitor::counting_monitor::{CountingMonitor, MonitorCounts};
pub use monitor::monitor::{Monitor, Monitors};
pub use monitor::tracing_monitor::TracingMonitor;
pub use platform::{
    BuildError, Crucible, CrucibleBuilder, EvaluateError, Events, EventsError, Handle,
    PlatformStats, PurgeError, PurgeReport, RecoverError, RecoveryReport, RedriveError, Retention,
    ShutdownReport, SubmitError, SubmitOptions, WaitError, purge_storage,
};
pub use queue::{Claim, Queue, QueueError, QueueErrorKind, QueueStats, Ticket};
pub use result::artifact::{Artifact, SkipReason, Skipped};
pub use result::captured::{Capture, Captured, OutputStream};
pub use result::enforcement::{Enforcement, LayerReport, LayerStatus};
pub use result::evidence::{Evidence, KillReason};
pub use result::judge::{ending, judge};
pub use result::outcome::{Outcome, WIRE_VERSION};
pub use result::usage::Usage;
pub use result::verdict::{Blame, Ending, NotStartedReason, Verdict};
pub use storage::ext::{RecordOrCorrupt, StorageExt};
pub use storage::storage::{
    CorruptRecord, Page, RecordQuery, Storage, StorageError, StorageErrorKind,
};
