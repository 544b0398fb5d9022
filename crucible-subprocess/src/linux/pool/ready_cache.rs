//! The cache of sandboxes, slots and interpreters that are opened ahead of time.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{EngineError, Layer, Limits};
use crucible_guest_client::{CheckOut, ReadyPool, ReadyStats};

use super::ready_interpreter::{InterpreterKind, ReadyInterpreter};
use super::ready_sandbox::ReadySandbox;
use super::slot_factory::create_slot;
use super::slot_pool::SlotPool;
use crate::linux::interpreter::ReadyLanguage;
use crate::linux::resources::{ResourceAllocator, SandboxSize};
use crate::linux::sandbox::{SandboxContext, SlotOwner};
use crate::linux::teardown::{Remnants, SandboxCache};
use crate::slot_sharing::SlotSharing;

/// The configuration of a cache.
#[derive(Debug)]
pub(crate) struct ReadyCacheConfig {
    pub(crate) sandboxes: usize,
    pub(crate) slots: usize,
    pub(crate) slot_sharing: SlotSharing,
    pub(crate) languages: Vec<ReadyLanguage>,
    pub(crate) interpreters: usize,
    pub(crate) age_max: Duration,
}

/// The cache of sandboxes, slots and interpreters that are opened ahead of time.
#[derive(Debug)]
pub(crate) struct ReadyCache {
    sandboxes: ReadyPool<SandboxSize, ReadySandbox>,
    slots: Arc<SlotPool>,
    languages: Vec<Arc<ReadyLanguage>>,
    interpreters: ReadyPool<InterpreterKind, ReadyInterpreter>,
}

impl ReadyCache {
    /// Creates a cache that expects requests with the default limits.
    pub(crate) fn new(
        config: ReadyCacheConfig,
        allocator: &ResourceAllocator,
    ) -> Result<Self, EngineError> {
        let ReadyCacheConfig { languages, age_max, .. } = config;
        // Without a CPU counter, the time of a program cannot be told from the time of the start.
        let has_interpreters = !languages.is_empty() && !allocator.is_waived(Layer::CpuCgroup);
        let interpreters = if has_interpreters { config.interpreters } else { 0 };
        let cache = Self {
            sandboxes: ReadyPool::new(config.sandboxes, age_max),
            slots: Arc::new(SlotPool::new(config.slots, config.slot_sharing, age_max)),
            languages: languages.into_iter().map(Arc::new).collect(),
            interpreters: ReadyPool::new(interpreters, age_max),
        };
        let limits = Limits::new();
        let size = SandboxSize::from(&limits);
        if cache.sandboxes.is_wanted() {
            cache.sandboxes.register(&size);
        }
        if cache.slots.pool.is_wanted() {
            cache.slots.pool.register(&size);
        }
        if cache.interpreters.is_wanted() {
            for language in 0..cache.languages.len() {
                let kind = InterpreterKind::new(language, &limits, allocator)?;
                cache.interpreters.register(&kind);
            }
        }
        Ok(cache)
    }

    /// Returns the owner of the slots, for the context of sandboxes.
    pub(crate) fn slot_owner(&self) -> Arc<dyn SlotOwner> {
        Arc::<SlotPool>::clone(&self.slots)
    }

    /// Returns the languages of ready interpreters.
    pub(crate) fn languages(&self) -> &[Arc<ReadyLanguage>] {
        &self.languages
    }

    /// Returns `true` if the engine keeps slots.
    pub(crate) fn has_slots(&self) -> bool {
        self.slots.pool.is_wanted()
    }

    /// Returns the statistics of ready sandboxes.
    pub(crate) fn sandbox_stats(&self) -> ReadyStats {
        self.sandboxes.stats()
    }

    /// Returns the statistics of slots.
    pub(crate) fn slot_stats(&self) -> ReadyStats {
        self.slots.pool.stats()
    }

    /// Returns the statistics of ready interpreters.
    pub(crate) fn interpreter_stats(&self) -> ReadyStats {
        self.interpreters.stats()
    }

    /// Takes a ready sandbox of this size.
    pub(crate) fn take_sandbox(
        &self,
        context: &SandboxContext,
        size: SandboxSize,
    ) -> Option<ReadySandbox> {
        take_alive(context, &self.sandboxes, &size, |sandbox| sandbox, |sandbox| sandbox)
    }

    /// Takes a ready sandbox of this size in a slot that the tenant may use.
    pub(crate) fn take_slot(
        &self,
        context: &SandboxContext,
        size: SandboxSize,
        tenant: &str,
    ) -> Option<ReadySandbox> {
        if !self.slots.pool.is_wanted() {
            return None;
        }
        loop {
            let CheckOut { item, is_lacking } = self.slots.check_out(size, tenant);
            match item {
                Some(dead) if !dead.is_alive() => {
                    self.slots.record_failed(size);
                    context.schedule_teardown(dead.into_remnants());
                }
                found => {
                    if is_lacking {
                        context.request_refill();
                    }
                    return found;
                }
            }
        }
    }

    /// Takes an interpreter of a language, by its index in [`languages`](Self::languages).
    pub(crate) fn take_interpreter(
        &self,
        context: &SandboxContext,
        language: usize,
        limits: &Limits,
    ) -> Result<Option<ReadyInterpreter>, EngineError> {
        if context.allocator.is_waived(Layer::CpuCgroup) {
            return Ok(None);
        }
        let kind = InterpreterKind::new(language, limits, &context.allocator)?;
        Ok(take_alive(
            context,
            &self.interpreters,
            &kind,
            |interpreter| &interpreter.sandbox,
            |interpreter| interpreter.sandbox,
        ))
    }

    /// Records that an interpreter had ended when it was taken.
    pub(crate) fn record_failed_interpreter(&self) {
        self.interpreters.record_failed();
    }

    fn start_interpreter(
        &self,
        allocator: &ResourceAllocator,
        kind: &InterpreterKind,
        remnants: &mut Vec<Remnants>,
    ) -> Result<ReadyInterpreter, EngineError> {
        let Some(language) = self.languages.get(kind.language) else {
            return Err(EngineError::Closed { what: "the language".to_owned() });
        };
        ReadyInterpreter::start(allocator, language, kind, remnants)
    }
}

impl SandboxCache for ReadyCache {
    fn refill(&self, allocator: &ResourceAllocator) -> Vec<Remnants> {
        let mut remnants = Vec::new();
        let mut has_failed = false;
        refill(&self.sandboxes, &mut has_failed, "cannot open a sandbox ahead of time", |size| {
            ReadySandbox::open(allocator, *size, &mut remnants)
        });
        refill(&self.slots.pool, &mut has_failed, "cannot create a slot", |size| {
            create_slot(allocator, *size, &mut remnants)
        });
        let message = "cannot start an interpreter ahead of time";
        refill(&self.interpreters, &mut has_failed, message, |kind| {
            self.start_interpreter(allocator, kind, &mut remnants)
        });
        remnants
    }

    fn evict_expired(&self) -> Vec<Remnants> {
        let interpreters = self.interpreters.take_expired();
        let sandboxes = self.sandboxes.take_expired();
        remnants(sandboxes, interpreters, self.slots.pool.take_expired())
    }

    fn drain(&self) -> Vec<Remnants> {
        remnants(self.sandboxes.clear(), self.interpreters.clear(), self.slots.pool.clear())
    }

    fn has_ready(&self) -> bool {
        self.sandbox_stats().ready > 0
            || self.slot_stats().ready > 0
            || self.interpreter_stats().ready > 0
    }
}

/// Takes an item with a live guest, and schedules the teardown of dead ones.
fn take_alive<K: PartialEq + Clone, T>(
    context: &SandboxContext,
    pool: &ReadyPool<K, T>,
    key: &K,
    sandbox: impl Fn(&T) -> &ReadySandbox,
    into_sandbox: impl Fn(T) -> ReadySandbox,
) -> Option<T> {
    if !pool.is_wanted() {
        return None;
    }
    let found = loop {
        match pool.take(key) {
            Some(dead) if !sandbox(&dead).is_alive() => {
                pool.record_failed();
                context.schedule_teardown(into_sandbox(dead).into_remnants());
            }
            found => break found,
        }
    };
    // The reaper refills the pool at the next end of a sandbox, when CPUs are free. A pool that may
    // run empty before is refilled now.
    if pool.is_low(key) {
        context.request_refill();
    }
    found
}

/// Opens the missing items of a pool, until the first failure.
fn refill<K: PartialEq + Clone, T>(
    pool: &ReadyPool<K, T>,
    has_failed: &mut bool,
    message: &str,
    mut open: impl FnMut(&K) -> Result<T, EngineError>,
) {
    for kind in pool.reserve_missing() {
        if *has_failed {
            pool.release(&kind);
            continue;
        }
        match open(&kind) {
            Ok(item) => pool.complete(&kind, Some(item)),
            Err(error) => {
                pool.complete(&kind, None);
                tracing::warn!(%error, "{message}");
                *has_failed = true;
            }
        }
    }
}

/// Returns the remnants of unused items.
fn remnants(
    sandboxes: Vec<ReadySandbox>,
    interpreters: Vec<ReadyInterpreter>,
    slots: Vec<ReadySandbox>,
) -> Vec<Remnants> {
    let interpreters = interpreters.into_iter().map(|interpreter| interpreter.sandbox);
    let unused = sandboxes.into_iter().chain(interpreters).chain(slots);
    unused.map(ReadySandbox::into_remnants).collect()
}
