//! Thin wrappers of system calls, and facts about the host.

mod host;
mod landlock;
mod poll;
mod runtime;
pub(crate) mod seccomp;
mod wake_event;

pub(crate) use host::{HostInfo, UserNamespaceObstacle};
pub(crate) use poll::{has_hung_up, is_readable, is_readable_within};
pub(crate) use runtime::{set_nonblocking, watch};
pub(crate) use wake_event::WakeEvent;
