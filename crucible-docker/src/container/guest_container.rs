//! A running container.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState};
use crucible_core::{EngineError, Usage};
use crucible_guest_client::{Channel as _, CommandEnd, Greeting};

use super::container_guard::ContainerGuard;
use super::container_policy::ContainerPolicy;
use crate::connection::Attachment;

/// The number and the interval of requests to the daemon whether a killed container ran out of
/// memory.
const OOM_CHECKS: u32 = 20;
const OOM_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The exit code that the daemon reports for a container with a killed process 1.
const KILLED: i64 = 137;
/// The time limit for the daemon to describe a container after its guest has ended.
const DIAGNOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A container with a guest that has greeted.
#[derive(Debug)]
pub(crate) struct GuestContainer {
    pub(crate) attachment: Attachment,
    pub(super) policy: ContainerPolicy,
    pub(super) target_id: u32,
    pub(super) guard: ContainerGuard,
}

impl GuestContainer {
    /// Returns the memory limit of the container.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.policy.memory_bytes
    }

    /// Returns the greeting of the guest.
    pub(crate) fn greeting(&self) -> Option<&Greeting> {
        self.attachment.router().greeting()
    }

    /// Kills the processes of the container in the background.
    pub(crate) fn kill(&self) {
        self.guard.kill();
    }

    /// Removes the container now.
    pub(crate) async fn remove(&self) -> Result<(), EngineError> {
        self.guard.remove().await
    }

    /// Corrects the kernel's peaks, which include the start of the container. A peak that the
    /// command did not exceed is not the command's.
    pub(crate) fn correct_peaks(&self, usage: &mut Usage, end: &CommandEnd) {
        let start = self.greeting().map(|greeting| greeting.counted);
        let (Some(start), Some(now)) = (start, end.counted) else {
            usage.processes_peak = None;
            return;
        };
        if now.memory_peak_bytes <= start.memory_peak_bytes {
            usage.memory_peak_bytes =
                end.exited.map(|exited| exited.maxrss_kib.saturating_mul(1024));
        }
        if now.processes_peak <= start.processes_peak {
            usage.processes_peak = None;
        }
    }

    /// Adds the daemon's and the runtime's explanation to the error of a guest that disappeared.
    pub(crate) async fn diagnose_loss(&self, error: EngineError) -> EngineError {
        let EngineError::Lost { doing, started, .. } = error else { return error };
        let mut facts = Vec::new();
        match tokio::time::timeout(DIAGNOSE_TIMEOUT, self.state()).await {
            Ok(Ok(Some(state))) => {
                let status = state.status.map(|status| status.to_string()).unwrap_or_default();
                let exit_code = state.exit_code.unwrap_or(-1);
                facts.push(format!("the container is {status}, exit code {exit_code}"));
                facts.extend(state.error.filter(|error| !error.is_empty()));
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => facts.push(crucible_core::error_chain(&error)),
            Err(_) => facts.push("the daemon does not describe the container".to_owned()),
        }
        let stderr = self.attachment.stderr();
        if !stderr.is_empty() {
            facts.push(stderr);
        }
        EngineError::Lost { doing, started, source: Some(facts.join("; ").into()) }
    }

    /// Returns `true` if the daemon reports that the container ran out of memory. The daemon learns
    /// of that and of the exit in either order, so this asks again for a while.
    pub(crate) async fn ran_out_of_memory(&self) -> bool {
        for _ in 0..OOM_CHECKS {
            let Ok(Ok(Some(state))) = tokio::time::timeout(DIAGNOSE_TIMEOUT, self.state()).await
            else {
                return false;
            };
            if state.oom_killed == Some(true) {
                return true;
            }
            // Running out of memory kills the container.
            if state.running == Some(false) && state.exit_code != Some(KILLED) {
                return false;
            }
            tokio::time::sleep(OOM_CHECK_INTERVAL).await;
        }
        false
    }

    /// Returns the daemon's description of the container.
    pub(super) async fn inspect(&self) -> Result<ContainerInspectResponse, EngineError> {
        self.guard.daemon.inspect(&self.guard.name).await
    }

    async fn state(&self) -> Result<Option<ContainerState>, EngineError> {
        Ok(self.inspect().await?.state)
    }
}
