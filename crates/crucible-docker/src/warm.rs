//! Containers that are started ahead of time. Each is used once, by one evaluation.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::container::Container;
use crate::policy::Policy;

/// For how many kinds of containers some are kept: those that were asked for last.
const KINDS: usize = 4;

/// How the pool of warm containers has fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WarmStats {
    /// Sandboxes that got a container that was ready.
    pub hits: u64,
    /// Sandboxes for which there was none.
    pub misses: u64,
    /// Containers that were started ahead of time.
    pub made: u64,
    /// Those among them that were removed because they had waited too long, or to make room.
    pub aged: u64,
    /// Those that had ended, or could not be started.
    pub failed: u64,
    /// Those that wait now.
    pub ready: u64,
}

/// The containers that wait.
#[derive(Debug)]
pub(crate) struct Pool {
    wanted: usize,
    age: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The kind that was asked for last is the last.
    kinds: Vec<Kind>,
    stats: WarmStats,
}

#[derive(Debug)]
struct Kind {
    policy: Policy,
    ready: VecDeque<(Container, Instant)>,
    /// Those that are being started.
    coming: usize,
}

impl Pool {
    pub(crate) fn new(wanted: usize, age: Duration) -> Self {
        Self { wanted, age, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> WarmStats {
        let state = self.state();
        let ready = state.kinds.iter().map(|kind| kind.ready.len() as u64).sum();
        WarmStats { ready, ..state.stats }
    }

    /// The one that has waited longest, of a kind that is wanted from now on.
    pub(crate) fn take(&self, policy: &Policy) -> Option<Container> {
        if self.wanted == 0 {
            return None;
        }
        let mut dropped = None;
        let mut state = self.state();
        let at = state.kinds.iter().position(|kind| kind.policy == *policy);
        let mut kind = match at {
            Some(at) => state.kinds.remove(at),
            None => Kind { policy: policy.clone(), ready: VecDeque::new(), coming: 0 },
        };
        let found = kind.ready.pop_front().map(|(container, _)| container);
        state.kinds.push(kind);
        if state.kinds.len() > KINDS {
            let oldest = state.kinds.remove(0);
            state.stats.aged += oldest.ready.len() as u64;
            dropped = Some(oldest);
        }
        match found {
            Some(_) => state.stats.hits += 1,
            None => state.stats.misses += 1,
        }
        drop(state);
        drop(dropped);
        found
    }

    /// One that was taken had ended.
    pub(crate) fn note_failed(&self) {
        self.state().stats.failed += 1;
    }

    /// One that waits, of whatever kind, to make room for one that is needed.
    pub(crate) fn evict(&self) -> Option<Container> {
        let mut state = self.state();
        let found = state.kinds.iter_mut().find_map(|kind| kind.ready.pop_front());
        state.stats.aged += u64::from(found.is_some());
        found.map(|(container, _)| container)
    }

    /// The kinds of which one more is to be started; each counts as coming.
    pub(crate) fn lacking(&self) -> Vec<Policy> {
        let wanted = self.wanted;
        let mut lacking = Vec::new();
        for kind in &mut self.state().kinds {
            while kind.ready.len() + kind.coming < wanted {
                kind.coming += 1;
                lacking.push(kind.policy.clone());
            }
        }
        lacking
    }

    /// One that was coming has come, or has not.
    pub(crate) fn put(&self, policy: &Policy, container: Option<Container>) {
        let mut state = self.state();
        match &container {
            Some(_) => state.stats.made += 1,
            None => state.stats.failed += 1,
        }
        let kind = state.kinds.iter_mut().find(|kind| kind.policy == *policy);
        let unwanted = match (kind, container) {
            (Some(kind), container) => {
                kind.coming = kind.coming.saturating_sub(1);
                kind.ready.extend(container.map(|container| (container, Instant::now())));
                None
            }
            // Nobody has asked for its kind for a while.
            (None, container) => container,
        };
        drop(state);
        drop(unwanted);
    }

    /// There is no room for one that was coming.
    pub(crate) fn put_off(&self, policy: &Policy) {
        if let Some(kind) = self.state().kinds.iter_mut().find(|kind| kind.policy == *policy) {
            kind.coming = kind.coming.saturating_sub(1);
        }
    }

    /// Those that have waited too long.
    pub(crate) fn aged(&self) -> Vec<Container> {
        let mut state = self.state();
        let mut aged = Vec::new();
        for kind in &mut state.kinds {
            while kind.ready.front().is_some_and(|(_, since)| since.elapsed() >= self.age) {
                aged.extend(kind.ready.pop_front().map(|(container, _)| container));
            }
        }
        state.stats.aged += aged.len() as u64;
        // A kind of which none was used for so long is not wanted any more.
        if !aged.is_empty() {
            state.kinds.retain(|kind| !kind.ready.is_empty() || kind.coming > 0);
        }
        aged
    }

    /// Nobody will ask any more.
    pub(crate) fn clear(&self) {
        let kinds = std::mem::take(&mut self.state().kinds);
        drop(kinds);
    }
}
