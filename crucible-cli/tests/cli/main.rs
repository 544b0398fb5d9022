//! The `crucible` command: its output, its streams and its exit statuses.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test helpers panic as the tests themselves do"
)]

mod batch;
mod batch_interrupts;
mod corruption;
mod generated;
mod history;
mod run_files;
mod run_verdicts;
mod support;
mod terminal;
mod usage;
