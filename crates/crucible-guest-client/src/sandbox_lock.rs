//! Exclusive access to a sandbox for one command at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use crucible_core::EngineError;
use tokio::sync::{Mutex, MutexGuard};

use crate::poison_on_drop::PoisonOnDrop;

/// Serializes the commands of a sandbox, and refuses requests once the sandbox is poisoned or
/// closed.
#[derive(Debug, Default)]
pub struct SandboxLock {
    turn: Mutex<()>,
    poisoned: AtomicBool,
}

impl SandboxLock {
    /// Creates the lock of a sandbox that accepts requests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks that the sandbox accepts requests.
    ///
    /// # Errors
    /// Returns [`EngineError::Closed`] if the sandbox is poisoned or closed.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(EngineError::Closed { what: "the sandbox".to_owned() });
        }
        Ok(())
    }

    /// Waits until no other command runs.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue of waiting commands.
    ///
    /// # Errors
    /// Returns [`EngineError::Closed`] if the sandbox is poisoned or closed, also if that happens
    /// during the wait.
    pub async fn acquire(&self) -> Result<MutexGuard<'_, ()>, EngineError> {
        self.check()?;
        let guard = self.turn.lock().await;
        // The previous command may have been abandoned.
        self.check()?;
        Ok(guard)
    }

    /// Makes the sandbox refuse every later request. Returns `true` if it accepted requests before.
    pub fn poison(&self) -> bool {
        !self.poisoned.swap(true, Ordering::AcqRel)
    }

    /// Returns a guard that poisons the sandbox when dropped.
    #[must_use]
    pub fn poison_on_drop(&self) -> PoisonOnDrop<'_> {
        PoisonOnDrop::new(&self.poisoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn abandoned_command_poisons_the_sandbox() {
        let lock = SandboxLock::new();
        lock.poison_on_drop().disarm();
        assert!(lock.acquire().await.is_ok());
        drop(lock.poison_on_drop());
        assert!(matches!(lock.acquire().await, Err(EngineError::Closed { .. })));
        assert!(!lock.poison());
    }
}
