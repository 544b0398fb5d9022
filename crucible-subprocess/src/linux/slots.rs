//! The slots of an engine: those in which a sandbox waits, and how many there are.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crucible_guest_client::ReadyStats;

use super::preopen::Preopened;
use super::resources::Size;
use crate::config::SlotSharing;

/// For how many sizes there are slots: those that were asked for last.
const SIZES: usize = 4;

/// The slots of an engine.
#[derive(Debug)]
pub(super) struct Slots {
    wanted: usize,
    age: Duration,
    sharing: SlotSharing,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The size that was asked for last is the last.
    sizes: Vec<OfSize>,
    /// Those that nobody wants any more.
    retired: Vec<Preopened>,
    stats: ReadyStats,
}

#[derive(Debug)]
struct OfSize {
    size: Size,
    /// Those that wait; the one that was used last is the last.
    idle: Vec<(Preopened, Instant)>,
    /// All of them, those included that are in use, and those that are being made.
    count: usize,
}

impl Slots {
    pub(super) fn new(wanted: usize, sharing: SlotSharing, age: Duration) -> Self {
        Self { wanted, age, sharing, state: Mutex::default() }
    }

    /// Nothing that is done under the lock can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted > 0
    }

    pub(super) fn stats(&self) -> ReadyStats {
        let state = self.state();
        let mut stats = state.stats;
        stats.ready = state.sizes.iter().map(|of_size| of_size.idle.len() as u64).sum();
        stats
    }

    /// The slots of this size will be asked for.
    pub(super) fn expect(&self, size: Size) {
        let mut state = self.state();
        if !state.sizes.iter().any(|of_size| of_size.size == size) {
            state.sizes.push(OfSize { size, idle: Vec::new(), count: 0 });
        }
    }

    /// One in which a sandbox waits, for a tenant, and whether there are fewer than there should be.
    pub(super) fn take(&self, size: Size, tenant: &str) -> (Option<Preopened>, bool) {
        let mut state = self.state();
        let at = state.sizes.iter().position(|of_size| of_size.size == size);
        let mut of_size = match at {
            Some(at) => state.sizes.remove(at),
            None => OfSize { size, idle: Vec::new(), count: 0 },
        };
        let mut found = None;
        let is_free = |(sandbox, _): &(Preopened, Instant)| self.may_use(sandbox, tenant);
        if let Some(at) = of_size.idle.iter().rposition(is_free) {
            found = Some(of_size.idle.remove(at).0);
        } else if !of_size.idle.is_empty() {
            // All are others' tenants: one makes room.
            let (of_another, _) = of_size.idle.remove(0);
            of_size.count = of_size.count.saturating_sub(1);
            state.retire(of_another);
        }
        if let (Some(sandbox), SlotSharing::Tenant) = (&mut found, self.sharing)
            && let Some(slot) = &mut sandbox.holdings.slot
        {
            slot.tenant = Some(tenant.to_owned());
        }
        let lacks = of_size.count < self.wanted;
        state.sizes.push(of_size);
        if state.sizes.len() > SIZES {
            let oldest = state.sizes.remove(0);
            oldest.idle.into_iter().for_each(|(sandbox, _)| state.retire(sandbox));
        }
        match found {
            Some(_) => state.stats.hits += 1,
            None => state.stats.misses += 1,
        }
        (found, lacks)
    }

    fn may_use(&self, sandbox: &Preopened, tenant: &str) -> bool {
        let last = sandbox.holdings.slot.as_ref().and_then(|slot| slot.tenant.as_deref());
        self.sharing == SlotSharing::All || last.is_none_or(|last| last == tenant)
    }

    /// One that was taken had ended: it was none.
    pub(super) fn note_failed(&self, size: Size) {
        let mut state = self.state();
        state.stats.failed += 1;
        state.stats.hits = state.stats.hits.saturating_sub(1);
        state.less(size);
    }

    /// The sizes of which one more is to be made; each counts already.
    pub(super) fn lacking(&self) -> Vec<Size> {
        let mut lacking = Vec::new();
        for of_size in &mut self.state().sizes {
            while of_size.count < self.wanted {
                of_size.count += 1;
                lacking.push(of_size.size);
            }
        }
        lacking
    }

    /// One has been made, or could not be.
    pub(super) fn put(&self, size: Size, made: Option<Preopened>) {
        match made {
            Some(sandbox) => {
                self.state().stats.made += 1;
                if let Some(sandbox) = self.give_back(size, sandbox) {
                    self.state().retire(sandbox);
                }
            }
            None => {
                let mut state = self.state();
                state.stats.failed += 1;
                state.less(size);
            }
        }
    }

    /// There was no room for one that was to be made.
    pub(super) fn put_off(&self, size: Size) {
        self.state().less(size);
    }

    /// Takes one back in which the next sandbox waits; gives it to whoever brings it if nobody has asked for its size for a while.
    pub(super) fn give_back(&self, size: Size, sandbox: Preopened) -> Option<Preopened> {
        let mut state = self.state();
        match state.sizes.iter_mut().find(|of_size| of_size.size == size) {
            Some(of_size) => {
                of_size.idle.push((sandbox, Instant::now()));
                None
            }
            None => Some(sandbox),
        }
    }

    /// One that was taken does not come back.
    pub(super) fn lose(&self, size: Size) {
        let mut state = self.state();
        state.stats.aged += 1;
        state.less(size);
    }

    /// Those that have waited too long, and those whose size nobody has asked for lately: they are given up.
    pub(super) fn aged(&self) -> Vec<Preopened> {
        let mut state = self.state();
        let mut aged = Vec::new();
        for of_size in &mut state.sizes {
            let old = of_size.idle.extract_if(.., |(_, since)| since.elapsed() >= self.age);
            let before = aged.len();
            aged.extend(old.map(|(sandbox, _)| sandbox));
            of_size.count = of_size.count.saturating_sub(aged.len() - before);
        }
        // A size of which none was used for so long is not wanted any more.
        if !aged.is_empty() {
            state.sizes.retain(|of_size| of_size.count > 0);
        }
        aged.into_iter().for_each(|sandbox| state.retire(sandbox));
        std::mem::take(&mut state.retired)
    }

    /// Nobody will ask any more: gives all that wait.
    pub(super) fn clear(&self) -> Vec<Preopened> {
        let mut state = self.state();
        let sizes = std::mem::take(&mut state.sizes);
        let idle = sizes.into_iter().flat_map(|of_size| of_size.idle).map(|(sandbox, _)| sandbox);
        std::mem::take(&mut state.retired).into_iter().chain(idle).collect()
    }
}

impl State {
    fn retire(&mut self, sandbox: Preopened) {
        self.stats.aged += 1;
        self.retired.push(sandbox);
    }

    fn less(&mut self, size: Size) {
        if let Some(of_size) = self.sizes.iter_mut().find(|of_size| of_size.size == size) {
            of_size.count = of_size.count.saturating_sub(1);
        }
    }
}
