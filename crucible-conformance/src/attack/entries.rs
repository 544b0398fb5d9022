//! The entries of the catalogue, by subject: a function for each program.

pub(super) mod files;
pub(super) mod kernel;
pub(super) mod lies;
pub(super) mod memory;
pub(super) mod network;
pub(super) mod privileges;
pub(super) mod processes;
pub(super) mod results;
pub(super) mod reuse;
pub(super) mod sockets;
pub(super) mod space;
pub(super) mod terminal;
pub(super) mod time;
pub(super) mod writing;
