//! Running the write closures of callers.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use crate::write_queue::{Job, RanWrite};
use crate::{Batch, KvError, Transaction, WriteError};

/// The point at which a caller gets its answer.
#[derive(Clone, Copy)]
pub(crate) enum WaitFor {
    /// After the closure has run.
    Run,
    /// After the writes are durable.
    Durable,
}

/// The result of a write closure.
pub(crate) enum ClosureResult<T, E> {
    Returned(Result<T, WriteError<E>>),
    Panicked(Box<dyn Any + Send>),
}

/// Creates the job that runs a closure and passes its result to `answer`.
pub(crate) fn write_job<T, E>(
    f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    wait_for: WaitFor,
    answer: impl FnOnce(ClosureResult<T, E>) + Send + 'static,
) -> Job
where
    T: Send + 'static,
    E: Send + 'static,
{
    Job::Write(Box::new(move |transaction: Result<Transaction<'_>, KvError>| -> RanWrite {
        let (writes, result) = match transaction {
            Ok(transaction) => run_closure(transaction, f),
            Err(error) => (Batch::new(), ClosureResult::Returned(Err(error.into()))),
        };
        match (wait_for, result) {
            // An error also waits for the commit, because the closure may have derived it from
            // uncommitted writes of its group.
            (WaitFor::Durable, ClosureResult::Returned(result)) => {
                let answer = move |committed: Result<(), KvError>| {
                    answer(ClosureResult::Returned(
                        committed.map_err(WriteError::Store).and(result),
                    ));
                };
                (writes, Some(Box::new(answer)))
            }
            (_, result) => {
                answer(result);
                (writes, None)
            }
        }
    }))
}

/// Runs a closure and returns its writes. The batch is empty unless the closure succeeds.
pub(crate) fn run_closure<T, E>(
    mut transaction: Transaction<'_>,
    f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
) -> (Batch, ClosureResult<T, E>) {
    // A panic can leave only the transaction in an inconsistent state, and the transaction is
    // discarded.
    let result = match panic::catch_unwind(AssertUnwindSafe(|| f(&mut transaction))) {
        Ok(Ok(value)) => {
            transaction.into_writes().map(|writes| (writes, value)).map_err(WriteError::Store)
        }
        Ok(Err(error)) => Err(WriteError::Aborted(error)),
        Err(panic) => return (Batch::new(), ClosureResult::Panicked(panic)),
    };
    match result {
        Ok((writes, value)) => (writes, ClosureResult::Returned(Ok(value))),
        Err(error) => (Batch::new(), ClosureResult::Returned(Err(error))),
    }
}
