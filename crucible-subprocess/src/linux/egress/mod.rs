//! The way out of a sandbox with an allow-list: a proxy in the host's process, one a sandbox, that speaks with the programs
//! inside over a socket of the sandbox's own loopback.
//!
//! Everything that comes in is hostile: what a program says is bounded in bytes, in time and in number. What goes out goes to
//! addresses that were resolved and checked here, never to a name.

mod address;
mod client_hello;
mod names;
mod proxy;
mod pump;
mod refusal;
mod request;
mod tunnel;
mod variables;

pub(super) use names::Names;
pub(super) use proxy::Proxy;
pub(super) use variables::variables;
