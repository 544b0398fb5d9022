//! The file descriptors of a sandbox's cgroups and network namespace.

use super::step_error::{StepError, StepResult};
use super::sys::Fd;
use crate::protocol::{MAX_TASKS_FILES, PlanFlags, SandboxPlan};

/// The descriptors that come with a plan, in the order of the message.
pub(crate) struct SandboxFds {
    pub(crate) network: Option<Fd>,
    pub(crate) cgroup: Option<Fd>,
    pub(crate) tasks: [Fd; MAX_TASKS_FILES],
}

impl SandboxFds {
    /// Assigns the received descriptors. Fails if the plan requires more of them.
    pub(crate) fn new(plan: &SandboxPlan, fds: &[Fd]) -> StepResult<Self> {
        let mut fds = fds.iter().copied();
        let mut next = || fds.next().ok_or(StepError::MALFORMED);
        let network = if plan.flags.has(PlanFlags::ENTER_NETWORK) { Some(next()?) } else { None };
        let cgroup = if plan.flags.has(PlanFlags::INTO_CGROUP) { Some(next()?) } else { None };
        let mut tasks = [Fd(-1); MAX_TASKS_FILES];
        for slot in tasks.iter_mut().take(usize::from(plan.tasks_files)) {
            *slot = next()?;
        }
        Ok(Self { network, cgroup, tasks })
    }
}
