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

pub mod bus;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
pub mod engine;
pub mod journal;
pub mod model;
pub mod monitor;
pub mod platform;
pub mod queue;
pub mod result;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;

pub use bus::{BusError, EventBus, EventFilter, EventStream, Lagged, LocalBus};
#[cfg(feature = "checkpoint")]
pub use checkpoint::merkle;
pub use engine::{
    Deviation, DirEntry, Engine, EngineError, EngineErrorKind, EngineInfo, EntryKind,
    EvaluationPlan, ExecOptions, ExecOutcome, FileReason, HostFact, HostReport, LayerProbe,
    Listing, OnExit, OutputChunk, OutputSink, PlannedCompile, PlannedFile, RunContext, Sandbox,
    SandboxSpec, Stdin, UnavailableMechanism, run_in_sandboxes,
};
pub use journal::{
    Event, EventKind, ParseRecordStateError, Record, RecordState, RequeueReason, TransitionError,
    VerifyError, verify, verify_against,
};
pub use model::{
    BoxError, ClaimId, Collect, Command, Compile, Digest, DigestStream, Endpoint, EnvValue,
    ErrorReport, Evaluation, EvaluationId, InputFile, InvalidInput, Isolation, Language, Languages,
    Layer, Limit, Limits, Network, ParseDigestError, ParseEndpointError, ParseIdError,
    ParseLayerError, ParseLimitError, ParseSignalError, Priority, Problem, Program, Retry,
    SandboxPath, SandboxPathError, Secret, Signal, Timestamp, WorkerId, error_chain,
};
pub use monitor::{CountingMonitor, Monitor, MonitorCounts, Monitors, TracingMonitor};
pub use platform::{
    BuildError, Crucible, CrucibleBuilder, EvaluateError, Events, EventsError, Handle,
    PlatformStats, PurgeError, PurgeReport, RecoverError, RecoveryReport, RedriveError, Retention,
    ShutdownReport, SubmitError, SubmitOptions, WaitError, purge_storage,
};
pub use queue::{Claim, Queue, QueueError, QueueErrorKind, QueueStats, Ticket};
pub use result::{
    Artifact, Blame, Capture, Captured, Ending, Enforcement, Evidence, KillReason, LayerReport,
    LayerStatus, NotStartedReason, Outcome, OutputStream, SkipReason, Skipped, Usage, Verdict,
    WIRE_VERSION, ending, judge,
};
pub use storage::{
    CorruptRecord, RecordOrCorrupt, RecordPage, RecordQuery, Storage, StorageError,
    StorageErrorKind, StorageExt, Verification, verify_storage,
};

#[doc(hidden)]
pub use engine::{DirEntry as Entry, EvaluationPlan as Plan};
#[doc(hidden)]
pub use journal::RecordState as State;
#[doc(hidden)]
pub use storage::RecordPage as Page;
