//! A guard that poisons a sandbox when a command is abandoned.

use std::sync::atomic::{AtomicBool, Ordering};

/// Poisons a sandbox when dropped, unless it was [disarmed](Self::disarm). The state of an
/// abandoned command is unknown.
#[derive(Debug)]
pub struct PoisonOnDrop<'a> {
    poisoned: &'a AtomicBool,
    armed: bool,
}

impl<'a> PoisonOnDrop<'a> {
    /// Creates an armed guard that sets `poisoned` when dropped.
    #[must_use]
    pub fn new(poisoned: &'a AtomicBool) -> Self {
        Self { poisoned, armed: true }
    }

    /// Drops the guard without poisoning the sandbox.
    pub fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for PoisonOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.poisoned.store(true, Ordering::Release);
        }
    }
}
