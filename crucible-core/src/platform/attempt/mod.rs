//! Attempts at evaluations.

mod artifacts;
#[expect(clippy::module_inception, reason = "a file is named for the type in it")]
mod attempt;
mod engine_run;
mod guard;
mod lease;
mod settle;

pub(super) use attempt::Attempt;
