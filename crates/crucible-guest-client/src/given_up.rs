//! A command that is given up half way.

use std::sync::atomic::{AtomicBool, Ordering};

/// Marks a sandbox as spent when a command is given up half way: what it does then is unknown.
#[derive(Debug)]
pub struct PoisonOnDrop<'a> {
    spent: &'a AtomicBool,
    done: bool,
}

impl<'a> PoisonOnDrop<'a> {
    /// Dropped as it is, it marks the sandbox.
    #[must_use]
    pub fn unless_done(spent: &'a AtomicBool) -> Self {
        Self { spent, done: false }
    }

    /// The command has come to its end, and the sandbox is as good as before.
    pub fn not_after_all(mut self) {
        self.done = true;
    }
}

impl Drop for PoisonOnDrop<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.spent.store(true, Ordering::Release);
        }
    }
}
