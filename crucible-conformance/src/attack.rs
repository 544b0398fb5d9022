//! Attacks on an engine: what untrusted programs do to get out, to lie, or to harm others, each as a small static program,
//! with what must hold, and a control that shows that the program does harm where nothing stops it.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use crucible_conformance::attack::Suite;
//! # use crucible_core::testing::FakeEngine;
//! # use crucible_core::{Engine, EngineError, Layer};
//! # fn engine_without(_: &[Layer]) -> Result<Arc<dyn Engine>, EngineError> { Ok(Arc::new(FakeEngine::new())) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let suite = Suite::new(engine_without)?;
//! let report = suite.run(|finding| println!("{finding}")).await?;
//! assert!(report.is_green(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **A finding is looked for from outside**: a file and a process of the host that must stay as they are, sockets on
//!   which nobody may knock, processes that must be gone. What a program says of itself counts against the engine, and
//!   for it only if it says with which error it was refused. A program that did not run to its end blocks nothing.
//! - **The control** runs the same program by an engine without the layers that stop it or, where there is no sandbox
//!   without them, by no engine at all, in scratch namespaces if it would harm the machine. It must then do its harm.
//! - **A layer alone**: [`Suite::matrix`] runs everything once for each layer that can be waived, without it.
//! - **What it needs**: Linux on x86-64, for the programs; root, for the controls that show what root could do.

/// What the catalogue has and no program here does, and why.
pub const ELSEWHERE: [(&str, &str); 9] = [
    (
        "C4",
        "live output: `live_output_is_all_of_it_in_order` and the limits on output hold for it as well",
    ),
    ("E4", "archives: nothing here packs or unpacks any"),
    (
        "E5",
        "changes of ownership by path: no engine here makes any, and a result is read by its descriptor",
    ),
    (
        "E6",
        "files of the supervisor in reach: there are none; what a program is given comes by pipes and frames",
    ),
    ("F9", "arguments that change under a filter: no decision is made on what a pointer leads to"),
    ("K2", "strings of the program in logs and formats: fuzz targets, and tests of the examples"),
    ("K4", "a guest that speaks the protocol wrongly: tests of the engine's own half"),
    (
        "K5",
        "cancelling, dropping and killing the host at every step: tests of the engine and the platform",
    ),
    ("K6", "limits that are none, arguments that are too many: conformance cases on requests"),
];

mod bare;
mod collector;
mod engine_run;
mod entries;
mod entry;
mod finding;
#[macro_use]
mod list;
mod matrix;
mod observation;
mod programs;
mod report;
mod scene;
mod suite;

pub use entry::Attack;
pub use finding::{ControlResult, Finding, Status};
pub use matrix::Matrix;
pub use report::Report;
pub use scene::SceneError;
pub use suite::Suite;

macro_rules! catalogue {
    ($($family:ident: $($name:ident),+;)+) => {
        /// Every attack.
        #[must_use]
        pub fn catalogue() -> Vec<Attack> {
            vec![$($(entries::$family::$name().named(stringify!($family), stringify!($name))),+),+]
        }
    };
}

attacks!(catalogue);
