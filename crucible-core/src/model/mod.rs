//! TODO(model)

pub(crate) mod collect;
pub(crate) mod command;
pub(crate) mod digest;
pub(crate) mod evaluation;
pub(crate) mod id;
pub(crate) mod language;
pub(crate) mod layer;
pub(crate) mod limits;
pub(crate) mod network;
pub(crate) mod path;
pub(crate) mod problem;
pub(crate) mod retry;
pub(crate) mod secret;
pub(crate) mod signal;
pub(crate) mod time;
pub(crate) mod wire_bytes;
