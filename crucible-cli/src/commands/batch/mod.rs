//! `crucible batch`: runs the programs of a file of JSON lines in parallel.

mod batch_run;
mod line;
mod line_keys;
mod line_reader;
mod report;

pub(crate) use batch_run::batch;
