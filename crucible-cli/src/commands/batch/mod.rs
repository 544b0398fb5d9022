//! `crucible batch`: a file of JSON lines, many programs at once.

mod batch_run;
mod line;
mod line_keys;
mod line_reader;
mod report;

pub(crate) use batch_run::batch;
