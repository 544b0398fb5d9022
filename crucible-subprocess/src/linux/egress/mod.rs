//! Egress of a sandbox with an allow-list: a proxy in the host's process, one per sandbox, that
//! serves a socket on the sandbox's own loopback interface.
//!
//! Every byte from a program is hostile: its requests are bounded in bytes, time and number. The
//! proxy connects to addresses that it has resolved and checked itself, never to a name.

mod client_hello;
mod connection_handler;
mod egress_proxy;
mod egress_refusal;
mod egress_resolver;
mod proxy_request;
mod proxy_variables;
mod public_address;
mod relay;

pub(crate) use egress_proxy::EgressProxy;
pub(crate) use egress_resolver::EgressResolver;
pub(crate) use proxy_variables::proxy_variables;
