//! The launcher of targets: memory for their arguments and their first stack.

use super::oom_score::OomScore;
use super::static_cell::StaticCell;
use super::sys::{self, Errno, Fd, Result, VforkStack};
use super::target::{self, LaunchError, Target, TargetJob};
use super::target_context::TargetContext;
use crate::protocol::{Confinement, Exec, Strings};

/// The maximum number of arguments and environment variables together. 2 MiB hold fewer strings of
/// one byte, each with a NUL and a pointer (execve(2)).
const POINTERS_MAX: usize = 256 * 1024;

/// Addresses of strings. A null pointer (0) ends each array.
static POINTERS: StaticCell<[usize; POINTERS_MAX]> = StaticCell::new([0; POINTERS_MAX]);
static STACK: StaticCell<VforkStack> = StaticCell::new(VforkStack([0; 16 * 1024]));

/// Starts targets. Owns the memory that a start needs.
pub(crate) struct TargetLauncher {
    pointers: &'static mut [usize; POINTERS_MAX],
    stack: &'static mut VforkStack,
}

impl TargetLauncher {
    /// Takes the static memory.
    pub(crate) fn take() -> Result<Self> {
        match (POINTERS.take(), STACK.take()) {
            (Some(pointers), Some(stack)) => Ok(Self { pointers, stack }),
            _ => Err(Errno::BUSY),
        }
    }

    /// Releases the static memory for the next guest.
    ///
    /// # Safety
    ///
    /// As for [`StaticCell::give_back`].
    pub(crate) unsafe fn give_back() {
        // SAFETY: the caller's promise.
        unsafe { POINTERS.give_back() };
        // SAFETY: the caller's promise.
        unsafe { STACK.give_back() };
    }

    /// Starts a program. When this returns, execve(2) has succeeded or the start has failed.
    pub(crate) fn start(
        &mut self,
        context: &TargetContext,
        exec: &Exec<'_>,
        stdio: [Fd; 3],
    ) -> core::result::Result<Target, LaunchError> {
        let (argv, env) = self.fill(exec).map_err(LaunchError::NoProcess)?;
        let mut job = TargetJob {
            context,
            exec,
            stdio,
            argv,
            env,
            guest_is_raised: context.oom_score.as_ref().is_some_and(OomScore::prepare_guest),
            confinement: Confinement::NONE,
            failed: None,
        };
        let pid = sys::vfork(self.stack, target::child, &mut job);
        // The child wrote to the job through its pointer, which the compiler does not see.
        // SAFETY: `job` is alive, and the child no longer shares this memory.
        let is_raised = unsafe { (&raw const job.guest_is_raised).read_volatile() };
        if let (true, Some(score)) = (is_raised, &context.oom_score) {
            score.restore_guest();
        }
        let pid = pid.map_err(LaunchError::NoProcess)?;
        // SAFETY: as above.
        let confinement = unsafe { (&raw const job.confinement).read_volatile() };
        // SAFETY: as above.
        match unsafe { (&raw const job.failed).read_volatile() } {
            None => Ok(Target { pid, confinement }),
            Some((step, error)) => Err(LaunchError::Failed { pid, step, error }),
        }
    }

    /// Fills the two arrays of pointers for execve(2) and returns their addresses.
    fn fill(&mut self, exec: &Exec<'_>) -> Result<(*const *const u8, *const *const u8)> {
        let count = |strings: &Strings<'_>| usize::try_from(strings.count).unwrap_or(POINTERS_MAX);
        let env_at = count(&exec.argv).checked_add(1).ok_or(Errno::INVAL)?;
        let end = env_at
            .checked_add(count(&exec.env))
            .and_then(|at| at.checked_add(1))
            .ok_or(Errno::INVAL)?;
        if end > POINTERS_MAX {
            return Err(Errno::INVAL);
        }
        for (start, strings) in [(0, &exec.argv), (env_at, &exec.env)] {
            let slots = self.pointers.get_mut(start..).unwrap_or_default();
            for (slot, string) in slots.iter_mut().zip(strings.iter()) {
                *slot = string.as_ptr() as usize;
            }
            if let Some(last) = slots.get_mut(count(strings)) {
                *last = 0;
            }
        }
        let env = self.pointers.get(env_at..).unwrap_or_default().as_ptr();
        Ok((self.pointers.as_ptr().cast(), env.cast()))
    }
}
