//! One container: from its name to a guest that has greeted.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{EngineError, EvaluationId, Usage};
use crucible_guest_client::errors::lost;
use crucible_guest_client::{Channel as _, ChannelExt as _, CommandEnd, SETUP_TIMEOUT};
use tokio::sync::OwnedSemaphorePermit;

use crate::attachment::Attachment;
use crate::enforcement;
use crate::engine::Inner;
use crate::error::{failed, status};
use crate::keeper::Keeper;
use crate::owner::Role;
use crate::policy::Policy;

/// How often a name is tried that somebody else may have.
const NAMES: u32 = 3;
/// How often, and how far apart, it is looked whether a container that was killed had run out of its memory.
const OOM_LOOKS: u32 = 20;
const OOM_LOOK_EVERY: Duration = Duration::from_millis(100);
/// The exit code that a daemon gives to a container whose process 1 was killed.
const KILLED: i64 = 137;
/// How long the daemon may take to say what became of a container whose guest is gone.
const AUTOPSY: Duration = Duration::from_secs(5);

/// The right to one container, and its name. Dropped, the container is removed, in the background; only then is the right given
/// back.
#[derive(Debug)]
pub(crate) struct Tenure {
    pub(crate) name: String,
    keeper: Keeper,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.keeper.remove(std::mem::take(&mut self.name), self.permit.take());
    }
}

/// A container whose guest has greeted.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) attachment: Attachment,
    pub(crate) policy: Policy,
    pub(crate) target_id: u32,
    pub(crate) tenure: Tenure,
}

impl Container {
    /// Corrects the kernel's peaks, which include the start of the container: a peak that the command did not exceed is
    /// not the command's.
    pub(crate) fn correct_peaks(&self, usage: &mut Usage, end: &CommandEnd) {
        let start = self.attachment.router().greeting().map(|greeting| greeting.counted);
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

    /// Makes and starts a container, and waits until its guest has greeted and every layer is seen to hold.
    ///
    /// # Cancel safety
    /// Dropping the future removes what was made, in the background.
    pub(crate) async fn start(
        inner: &Arc<Inner>,
        policy: Policy,
        evaluation: Option<EvaluationId>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, EngineError> {
        let target_id = inner.next_target_id();
        let tenure = Self::make(inner, &policy, target_id, evaluation, permit).await?;
        let daemon = &inner.daemon;
        // Before it starts: what it says at once is not lost.
        let attachment = Attachment::new(daemon.attach(&tenure.name).await?);
        let (started, seen) =
            tokio::join!(daemon.start(&tenure.name), daemon.inspect(&tenure.name));
        started.map_err(|error| inner.explain_start(&policy, error))?;
        let greeted = tokio::time::timeout(SETUP_TIMEOUT, attachment.ready()).await;
        let container = Self { attachment, policy, target_id, tenure };
        match greeted {
            Ok(Ok(())) => {}
            Ok(Err(ended)) => return Err(container.autopsy(inner, ended.into_error(false)).await),
            Err(_) => return Err(lost("starting a container", false)),
        }
        enforcement::check(inner, &container, &seen?)?;
        Ok(container)
    }

    async fn make(
        inner: &Arc<Inner>,
        policy: &Policy,
        target_id: u32,
        evaluation: Option<EvaluationId>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Tenure, EngineError> {
        let mut permit = Some(permit);
        for attempt in 1.. {
            let carrier = inner.carrier(&policy.image).await?;
            // From here on it is removed by its name, whatever becomes of the call.
            let name = inner.next_name();
            let tenure = Tenure { name, keeper: inner.keeper(), permit: permit.take() };
            let labels = inner.owner.labels(Role::Sandbox, evaluation);
            let body = policy.body(&inner.daemon.settings, &carrier, target_id, labels);
            let error = match inner.daemon.create(&tenure.name, body).await {
                Ok(()) => return Ok(tenure),
                Err(error) => error,
            };
            let text = error.to_string();
            let again = attempt < NAMES
                && match status(&error) {
                    Some(400 | 404) if text.contains(&carrier) => {
                        // Somebody has removed it: there will be another.
                        inner.forget_carrier(&carrier).await;
                        true
                    }
                    // Of an engine that nobody can tell from this one, or the same call twice.
                    Some(409) => text.contains("already in use"),
                    _ => false,
                };
            if !again {
                if status(&error) == Some(404) && text.contains("No such image") {
                    inner.images.forget(&policy.image);
                    return Err(EngineError::Unsupported {
                        engine: inner.info.name.clone(),
                        what: format!(
                            "image `{}`, which the daemon does not have any more",
                            policy.image
                        ),
                    });
                }
                return Err(failed("make a container", error));
            }
            let mut tenure = tenure;
            permit = tenure.permit.take();
        }
        Err(lost("making a container", false))
    }

    /// Why a guest is gone that should not be.
    pub(crate) async fn autopsy(&self, inner: &Inner, error: EngineError) -> EngineError {
        let EngineError::Lost { doing, started, .. } = error else { return error };
        let mut known = Vec::new();
        match tokio::time::timeout(AUTOPSY, inner.daemon.inspect(&self.tenure.name)).await {
            Ok(Ok(seen)) => {
                if let Some(state) = seen.state {
                    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
                    known.push(format!(
                        "the container is {status}, exit code {}",
                        state.exit_code.unwrap_or(-1)
                    ));
                    known.extend(state.error.filter(|error| !error.is_empty()));
                }
            }
            Ok(Err(error)) => known.push(crucible_core::error_chain(&error)),
            Err(_) => known.push("the daemon does not say what became of the container".to_owned()),
        }
        let noise = self.attachment.noise();
        if !noise.is_empty() {
            known.push(noise);
        }
        EngineError::Lost { doing, started, source: Some(known.join("; ").into()) }
    }

    /// Whether the daemon has seen the container run out of its memory. It hears of that and of the end on two ways, and of the end
    /// first now and then.
    pub(crate) async fn ran_out_of_memory(&self, inner: &Inner) -> bool {
        for _ in 0..OOM_LOOKS {
            let seen = tokio::time::timeout(AUTOPSY, inner.daemon.inspect(&self.tenure.name)).await;
            let Ok(Ok(Some(state))) = seen.map(|seen| seen.map(|seen| seen.state)) else {
                return false;
            };
            if state.oom_killed == Some(true) {
                return true;
            }
            // Whoever was not killed was not killed for its memory.
            if state.running == Some(false) && state.exit_code != Some(KILLED) {
                return false;
            }
            tokio::time::sleep(OOM_LOOK_EVERY).await;
        }
        false
    }
}
