//! The filter that enforces the policy on system calls.
//!
//! There is one filter. The spawner loads it once, and every guest and every target inherits it.
//! Loading a filter takes a tenth of the time of a whole run.
//!
//! The calls that set sandboxes up are refused like others, unless the caller passes a key, a
//! random number of 64 bits. The spawner generates the key before it loads the filter, and a guest
//! erases it before it serves. The filter contains the key, and only the host's root can read the
//! filter (`PTRACE_SECCOMP_GET_FILTER`).
//!
//! The host has a listener for the refusals that are reported: it records them and answers with the
//! error number. Without a listener the filter answers them itself, and calls of another ABI (i386,
//! x32) kill the process, because their numbers mean other calls. Numbers newer than the policy are
//! answered as unknown calls.

use super::bpf::{Assembly, DATA, ERRNO, KILL_PROCESS, NOTIFY, halves};
use super::compiler::{FOREIGN, INET_HOLES, KEY_HOLES, assemble};
use crate::agent::sys::{self, Errno, Fd, Result};
use crate::policy::RULES;

const AF_UNIX: u32 = 1;
pub(super) const AF_INET: u32 = 2;
pub(super) const AF_INET6: u32 = 10;

static FILTER: Assembly = assemble(RULES);

/// The sockets that the filter allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketPolicy {
    LocalOnly,
    LocalAndTcp,
}

/// The party that answers the reported refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answerer {
    Listener,
    Filter,
}

/// Loads the filter for this process and its future children. Returns the listener, or the reason
/// why there is none: a kernel before 5.0, or a listener of a process outside.
pub(crate) fn load(key: u64, sockets: SocketPolicy) -> Result<core::result::Result<Fd, Errno>> {
    match sys::load_filter_with_listener(build(key, sockets, Answerer::Listener).instructions()) {
        Ok(listener) => Ok(Ok(listener)),
        Err(error) => load_without_listener(key, sockets).map(|()| Err(error)),
    }
}

/// Loads the filter that answers all refusals itself.
pub(crate) fn load_without_listener(key: u64, sockets: SocketPolicy) -> Result<()> {
    sys::load_filter(build(key, sockets, Answerer::Filter).instructions())
}

/// Returns the filter with all placeholders replaced.
pub(super) fn build(key: u64, sockets: SocketPolicy, answerer: Answerer) -> Assembly {
    let mut filter = FILTER.clone();
    let [low, high] = halves(key);
    filter.replace(KEY_HOLES[0], low);
    filter.replace(KEY_HOLES[1], high);
    let families = match sockets {
        // An earlier rule allows this family, so that the condition never holds.
        SocketPolicy::LocalOnly => [AF_UNIX; 2],
        SocketPolicy::LocalAndTcp => [AF_INET, AF_INET6],
    };
    filter.replace(INET_HOLES[0], families[0]);
    filter.replace(INET_HOLES[1], families[1]);
    if answerer == Answerer::Filter {
        filter.replace_answers(|answer| match answer {
            FOREIGN => Some(KILL_PROCESS),
            _ if answer & !DATA == NOTIFY => Some(ERRNO | answer & DATA),
            _ => None,
        });
    }
    filter
}
