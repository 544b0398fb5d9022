//! What the kernel says of the programs of an engine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crucible_guest_client::ProcessStatus;

/// How often the status file of a program is read again.
const EVERY: u32 = 50;

/// The status file (proc(5)) of a program, read right after it was executed: of the first, and of every fiftieth after it. To read it takes
/// some 20 us of a run, and what all of them have from their guests, by the same steps, is said by one of them. What a program has of its own
/// it asks the kernel for each time ([`Confinement`](crucible_guest::protocol::Confinement)).
#[derive(Debug, Default)]
pub(super) struct Word {
    known: Mutex<Option<ProcessStatus>>,
    commands: AtomicU32,
}

impl Word {
    /// Whether the next program's is to be read.
    pub(super) fn is_due(&self) -> bool {
        let count = self.commands.fetch_add(1, Ordering::Relaxed);
        count.is_multiple_of(EVERY) || self.known().is_none()
    }

    /// Takes note of one in which every layer was in force.
    pub(super) fn note(&self, status: ProcessStatus) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// The last that is known.
    pub(super) fn known(&self) -> Option<ProcessStatus> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_fifty_is_read_and_the_first_until_it_is_known() {
        let word = Word::default();
        assert!(word.is_due() && word.is_due(), "nothing is known");
        let status = ProcessStatus::parse(b"Seccomp:\t2\n");
        word.note(status.clone());
        let due = (0..150).filter(|_| word.is_due()).count();
        assert_eq!(due, 3);
        assert_eq!(word.known(), Some(status));
    }
}
