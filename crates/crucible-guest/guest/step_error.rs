//! Errors that name the step in which a system call failed.

use super::sys::{Errno, Result};
use crate::protocol::Step;

/// A step of the guest or of the spawner that failed, with the error number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepError(pub(crate) Step, pub(crate) Errno);

impl StepError {
    /// The error for a request that does not decode.
    pub(crate) const MALFORMED: Self = Self(Step::REQUEST, Errno::PROTO);
}

/// The result of a step.
pub(crate) type StepResult<T> = core::result::Result<T, StepError>;

/// Adds the name of the step to the result of a system call.
pub(crate) trait AtStep<T> {
    /// Returns the result with `step` as part of the error.
    fn at(self, step: Step) -> StepResult<T>;
}

impl<T> AtStep<T> for Result<T> {
    fn at(self, step: Step) -> StepResult<T> {
        self.map_err(|error| StepError(step, error))
    }
}
