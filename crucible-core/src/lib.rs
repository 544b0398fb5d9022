//! The data model, the traits and the platform of Crucible, which runs untrusted programs in real
//! isolation and reports truthfully what happened.
//!
//! An [`Evaluation`] describes a program to run. An [`Engine`] isolates it. A [`Queue`] orders the
//! waiting evaluations. A [`Storage`] keeps a journal of [`Event`]s for each evaluation, the source
//! of truth. An [`EventBus`] publishes events, and [`Monitor`]s observe them. [`Crucible`] composes
//! these parts. The result is an [`Outcome`]: a [`Verdict`] that one pure function, [`judge()`],
//! computes from [`Evidence`].
//!
//! This crate contains no backend. The engine in this example follows a script and isolates
//! nothing:
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
//! # Failures
//!
//! Each kind of failure has its own type:
//!
//! - A failure of the *program* is `Ok(Outcome)` with its [`Verdict`].
//! - A failure of the *infrastructure* is an [`EngineError`], [`QueueError`], [`StorageError`] or
//!   [`BusError`], with `is_retryable` and, where there are several kinds, `kind`.
//! - A mistake of the *caller* is [`InvalidInput`], which lists all problems.
//!
//! # Modules
//!
//! Imports run downwards: [`model`], [`result`], [`journal`], then [`engine`], [`storage`],
//! [`queue`], [`bus`] and [`monitor`], then [`platform`]. All types are also re-exported at the
//! crate root.
//!
//! # Features
//!
//! - `checkpoint`: signed Merkle roots over all journals of a storage. Off by default.
//! - `testing`: a scripted engine that isolates nothing, and fault-injecting wrappers for each
//!   trait. Off by default; for tests only.

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
