//! Command-line arguments, one file for each command.

pub(crate) mod attack;
pub(crate) mod batch;
pub(crate) mod cli;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod limits;
pub(crate) mod run;
pub(crate) mod verify;
