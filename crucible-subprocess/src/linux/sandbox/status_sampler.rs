//! Samples of the kernel's status of an engine's programs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crucible_guest_client::ProcessStatus;

/// Interval between two samples, in commands.
const INTERVAL: u32 = 50;

/// Samples of the status file (proc(5)) of programs, read right after execve(2): of the first
/// program, and of every fiftieth after it.
///
/// Reading the file takes some 20 us of a run. Guests set up every program by the same steps, so
/// one sample stands for all of them. Each guest reports the state of its own program in
/// [`Confinement`](crucible_guest::protocol::Confinement).
#[derive(Debug, Default)]
pub(super) struct StatusSampler {
    last: Mutex<Option<ProcessStatus>>,
    commands: AtomicU32,
}

impl StatusSampler {
    /// Counts a command, and returns `true` if its status is due to be read.
    pub(super) fn is_due(&self) -> bool {
        let count = self.commands.fetch_add(1, Ordering::Relaxed);
        count.is_multiple_of(INTERVAL) || self.last().is_none()
    }

    /// Records the status of a program with every layer in force.
    pub(super) fn record(&self, status: ProcessStatus) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// Returns the last recorded status.
    pub(super) fn last(&self) -> Option<ProcessStatus> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_is_due_until_recorded_and_every_fifty_commands() {
        let sampler = StatusSampler::default();
        assert!(sampler.is_due() && sampler.is_due(), "no status is recorded");
        let status = ProcessStatus::parse(b"Seccomp:\t2\n");
        sampler.record(status.clone());
        let due = (0..150).filter(|_| sampler.is_due()).count();
        assert_eq!(due, 3);
        assert_eq!(sampler.last(), Some(status));
    }
}
