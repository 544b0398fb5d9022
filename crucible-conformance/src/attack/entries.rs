//! The catalogue by family: one function for each attack.

pub(super) mod files;
pub(super) mod kernel;
pub(super) mod memory;
pub(super) mod network;
pub(super) mod privileges;
pub(super) mod processes;
pub(super) mod results;
pub(super) mod reuse;
pub(super) mod sockets;
pub(super) mod space;
pub(super) mod spoofing;
pub(super) mod terminal;
pub(super) mod time;
pub(super) mod writing;
