//! Engines and sandboxes: the traits, their data, and the default run of an evaluation.

mod artifact_collector;
mod context;
mod deviation;
mod engine_trait;
mod error;
mod exec;
mod file_reason;
mod forward;
mod host_report;
mod info;
mod listing;
mod output;
mod plan;
mod sandbox;
mod sandbox_run;
mod sandbox_spec;

pub use context::RunContext;
pub use deviation::Deviation;
pub use engine_trait::Engine;
pub use error::{EngineError, EngineErrorKind, UnavailableMechanism};
pub use exec::{ExecOptions, ExecOutcome, OnExit, Stdin};
pub use file_reason::FileReason;
pub use host_report::{HostFact, HostReport, LayerProbe};
pub use info::EngineInfo;
pub use listing::{DirEntry, EntryKind, Listing};
pub use output::{OutputChunk, OutputSink};
pub use plan::{EvaluationPlan, PlannedCompile, PlannedFile};
pub use sandbox::Sandbox;
pub use sandbox_run::run_in_sandboxes;
pub use sandbox_spec::SandboxSpec;
