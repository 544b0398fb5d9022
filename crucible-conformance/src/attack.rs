//! Attacks on an engine: small static programs that try to escape, to deceive, or to harm others.
//!
//! Each attack has an expectation and a control. The control shows that the program does harm where
//! nothing stops it.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use crucible_conformance::attack::AttackSuite;
//! # use crucible_core::testing::FakeEngine;
//! # use crucible_core::{Engine, EngineError, Layer};
//! # fn engine_without(_: &[Layer]) -> Result<Arc<dyn Engine>, EngineError> {
//! #     Ok(Arc::new(FakeEngine::new()))
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let suite = AttackSuite::new(engine_without)?;
//! let report = suite.run(|finding| println!("{finding}")).await?;
//! assert!(report.is_green(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **Harm is observed from outside.** The host checks a canary file, a bystander process, canary
//!   sockets, and surviving processes. A program's own report can count against the engine. It
//!   counts for the engine only if it contains the error of each refused attempt. A program that
//!   did not run to its end proves nothing.
//! - **The control** runs the same program by an engine without the layers that stop it. If there
//!   is no such engine, the program runs as a plain process, in scratch namespaces if it would harm
//!   the machine. The control must do its harm.
//! - **The matrix.** [`AttackSuite::matrix`] runs every attack once for each layer that can be
//!   waived, without that layer.
//! - **Requirements.** Linux on x86-64 for the programs; root for the controls that only root
//!   can run.

mod binary;
mod collector;
mod definition;
mod entries;
mod finding;
mod fixture;
mod matrix;
#[macro_use]
mod names;
mod observation;
mod report;
mod sandboxed;
mod suite;
mod unsandboxed;

pub use definition::Attack;
pub use finding::{AttackFinding, AttackStatus, ControlResult};
pub use fixture::FixtureError;
pub use matrix::LayerMatrix;
pub use report::AttackReport;
pub use suite::AttackSuite;

/// Numbers of the catalogue that no program covers, and what covers them instead.
pub const COVERED_ELSEWHERE: [(&str, &str); 9] = [
    ("C4", "live output: the case `live_output_is_complete_and_ordered`, and the limits on output"),
    ("E4", "archives: no engine packs or unpacks an archive"),
    ("E5", "changes of ownership by path: no engine makes any, and results are read by descriptor"),
    (
        "E6",
        "files of the supervisor: a sandbox contains none; input arrives through pipes and frames",
    ),
    ("F9", "arguments that change during a call: no filter reads memory through a pointer"),
    ("K2", "program strings in logs and formats: fuzz targets, and tests of the command line"),
    ("K4", "a guest that breaks the protocol: tests of the engine's side of the protocol"),
    (
        "K5",
        "cancelling, dropping, and killing the host at every step: tests of engine and platform",
    ),
    ("K6", "invalid limits and too many arguments: conformance cases on requests"),
];

macro_rules! catalogue {
    ($($family:ident: $($name:ident),+;)+) => {
        /// Returns every attack, in the order of the list of names.
        #[must_use]
        pub fn catalogue() -> Vec<Attack> {
            vec![$($(entries::$family::$name().named(stringify!($family), stringify!($name))),+),+]
        }
    };
}

attacks!(catalogue);
