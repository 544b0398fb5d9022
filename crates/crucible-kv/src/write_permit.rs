//! A reserved slot for one write.

use crate::write_closure::{ClosureResult, run_closure};
use crate::write_queue::{Job, QueuePermit, RanWrite};
use crate::{Batch, KvError, Transaction};

/// A reserved slot in the write queue, for one write.
#[derive(Debug)]
pub struct WritePermit<'a>(QueuePermit<'a>);

impl<'a> WritePermit<'a> {
    pub(crate) fn new(permit: QueuePermit<'a>) -> Self {
        Self(permit)
    }

    /// Submits a closure that writes, without waiting. Its writes are committed within a few
    /// milliseconds, in the order of submission, as by
    /// [`Store::write_later`](crate::Store::write_later).
    ///
    /// The writer thread calls `failed` if the closure fails or does not run. A failure of the
    /// commit is not reported.
    ///
    /// # Errors
    /// Returns [`KvError::Closed`] if the store is closed; the closure then does not run.
    pub fn write<E>(
        self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
        failed: impl FnOnce() + Send + 'static,
    ) -> Result<(), KvError> {
        let job = move |transaction: Result<Transaction<'_>, KvError>| -> RanWrite {
            match transaction.map(|transaction| run_closure(transaction, f)) {
                Ok((writes, ClosureResult::Returned(Ok(())))) => (writes, None),
                // The panic hook has reported a panic already.
                Ok((_, ClosureResult::Returned(Err(_)) | ClosureResult::Panicked(_))) | Err(_) => {
                    failed();
                    (Batch::new(), None)
                }
            }
        };
        self.0.push_unawaited(Job::Write(Box::new(job)))
    }
}
