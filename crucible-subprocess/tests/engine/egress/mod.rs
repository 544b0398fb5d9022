//! Allow-lists: what is on one is reached through the proxy, and nothing else in any way. Against servers on this host's
//! loopback, to which endpoints are pinned; each refusal has its control, the same with what is allowed.

mod bounds;
mod counted;
mod policy;
mod reach;
mod refused;
mod support;
