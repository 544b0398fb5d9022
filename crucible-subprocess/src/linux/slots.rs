//! The pool of an engine's slots.

use std::time::Duration;

use crucible_guest_client::{CheckOut, ReadyPool};

use super::preopen::Preopened;
use super::resources::Size;
use crate::config::SlotSharing;

/// The pool of an engine's slots. Each ready slot contains an open sandbox in which nothing has run.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) pool: ReadyPool<Size, Preopened>,
    sharing: SlotSharing,
}

impl Slots {
    pub(super) fn new(wanted: usize, sharing: SlotSharing, age: Duration) -> Self {
        Self { pool: ReadyPool::new(wanted, age), sharing }
    }

    /// Checks out a slot that the tenant may use.
    pub(super) fn take(&self, size: Size, tenant: &str) -> CheckOut<Preopened> {
        let mut taken = self.pool.check_out(&size, |sandbox| self.may_use(sandbox, tenant));
        if let (Some(sandbox), SlotSharing::Tenant) = (&mut taken.item, self.sharing)
            && let Some(slot) = &mut sandbox.holdings.slot
        {
            slot.tenant = Some(tenant.to_owned());
        }
        taken
    }

    /// Records that a slot that was checked out had already ended.
    pub(super) fn record_failed(&self, size: Size) {
        self.pool.record_failed();
        self.pool.release(&size);
    }

    fn may_use(&self, sandbox: &Preopened, tenant: &str) -> bool {
        let last = sandbox.holdings.slot.as_ref().and_then(|slot| slot.tenant.as_deref());
        self.sharing == SlotSharing::All || last.is_none_or(|last| last == tenant)
    }
}
