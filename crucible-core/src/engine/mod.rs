//! TODO(engine)

pub(crate) mod deviation;
pub(crate) mod engine;
pub(crate) mod error;
pub(crate) mod forward;
pub(crate) mod host_report;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod sandbox;
