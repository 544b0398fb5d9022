//! The owners of containers, as labels record them.

mod local_host;
mod owner;

pub(crate) use local_host::{LocalHost, ReapDecision};
pub(crate) use owner::{ContainerRole, OWNER, Owner};
