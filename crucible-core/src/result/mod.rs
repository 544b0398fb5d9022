//! Results: evidence, the verdict that follows from it, captured output, usage.
//!
//! [`judge()`] is the only function that computes a verdict.

mod artifact;
mod captured;
mod enforcement;
mod evidence;
mod judge;
mod outcome;
mod usage;
mod verdict;

pub use artifact::{Artifact, SkipReason, Skipped};
pub use captured::{Capture, Captured, OutputStream};
pub use enforcement::{Enforcement, LayerReport, LayerStatus};
pub use evidence::{Evidence, KillReason};
pub use judge::{ending, judge};
pub use outcome::{Outcome, WIRE_VERSION};
pub use usage::Usage;
pub use verdict::{Blame, Ending, NotStartedReason, Verdict};
