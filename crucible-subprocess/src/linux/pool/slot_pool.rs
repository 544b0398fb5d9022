//! The pool of an engine's slots.

use std::time::Duration;

use crucible_guest_client::{CheckOut, ReadyPool};

use super::ready_sandbox::ReadySandbox;
use crate::linux::resources::SandboxSize;
use crate::slot_sharing::SlotSharing;

/// The pool of an engine's slots. Each ready slot has an open sandbox in which nothing has run.
#[derive(Debug)]
pub(super) struct SlotPool {
    pub(super) pool: ReadyPool<SandboxSize, ReadySandbox>,
    sharing: SlotSharing,
}

impl SlotPool {
    /// Creates a pool that keeps `wanted` slots of each size, each for at most `age_max`.
    pub(super) fn new(wanted: usize, sharing: SlotSharing, age_max: Duration) -> Self {
        Self { pool: ReadyPool::new(wanted, age_max), sharing }
    }

    /// Checks out a slot that the tenant may use.
    pub(super) fn check_out(&self, size: SandboxSize, tenant: &str) -> CheckOut<ReadySandbox> {
        let mut taken = self.pool.check_out(&size, |sandbox| self.may_use(sandbox, tenant));
        if let (Some(sandbox), SlotSharing::Tenant) = (&mut taken.item, self.sharing)
            && let Some(slot) = &mut sandbox.reservation.slot
        {
            slot.tenant = Some(tenant.to_owned());
        }
        taken
    }

    /// Records that a checked-out slot had ended already.
    pub(super) fn record_failed(&self, size: SandboxSize) {
        self.pool.record_failed();
        self.pool.release(&size);
    }

    fn may_use(&self, sandbox: &ReadySandbox, tenant: &str) -> bool {
        let last = sandbox.reservation.slot.as_ref().and_then(|slot| slot.tenant.as_deref());
        self.sharing == SlotSharing::All || last.is_none_or(|last| last == tenant)
    }
}
