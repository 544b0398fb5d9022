//! Sandboxes that are made before anybody asks for them. Each is used once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how many kinds of sandboxes some are kept: those that were asked for last.
const KINDS: usize = 4;

/// How a pool of sandboxes that are made ahead of time has fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadyStats {
    /// How often there was one when it was asked for.
    pub hits: u64,
    /// How often there was none.
    pub misses: u64,
    /// Sandboxes that were made ahead of time.
    pub made: u64,
    /// Those among them that were given up because they had waited too long, or to make room.
    pub aged: u64,
    /// Those that had ended, or could not be made.
    pub failed: u64,
    /// Those that wait now.
    pub ready: u64,
}

/// The sandboxes that wait: things of type `T`, of kinds `K`.
#[derive(Debug)]
pub struct ReadyPool<K, T> {
    wanted: usize,
    age: Duration,
    state: Mutex<State<K, T>>,
}

#[derive(Debug)]
struct State<K, T> {
    /// The kind that was asked for last is the last.
    kinds: Vec<Kind<K, T>>,
    /// Those of which nobody wants any more.
    retired: Vec<T>,
    stats: ReadyStats,
}

#[derive(Debug)]
struct Kind<K, T> {
    key: K,
    ready: VecDeque<(T, Instant)>,
    /// Those that are being made.
    coming: usize,
}

impl<K: PartialEq + Clone, T> ReadyPool<K, T> {
    /// A pool that keeps `wanted` of each kind that was asked for lately, each for `age` at the longest.
    #[must_use]
    pub fn new(wanted: usize, age: Duration) -> Self {
        let state = State { kinds: Vec::new(), retired: Vec::new(), stats: ReadyStats::default() };
        Self { wanted, age, state: Mutex::new(state) }
    }

    /// Nothing that is done under the lock can panic half-way.
    fn state(&self) -> MutexGuard<'_, State<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any are to be kept at all.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted > 0
    }

    /// How it has fared.
    #[must_use]
    pub fn stats(&self) -> ReadyStats {
        let state = self.state();
        let ready = state.kinds.iter().map(|kind| kind.ready.len() as u64).sum();
        ReadyStats { ready, ..state.stats }
    }

    /// A kind will be asked for.
    pub fn expect(&self, key: &K) {
        let mut state = self.state();
        if !state.kinds.iter().any(|kind| kind.key == *key) {
            state.kinds.push(Kind { key: key.clone(), ready: VecDeque::new(), coming: 0 });
        }
    }

    /// The one that has waited longest, of a kind that is wanted from now on.
    #[must_use]
    pub fn take(&self, key: &K) -> Option<T> {
        if self.wanted == 0 {
            return None;
        }
        let mut state = self.state();
        let at = state.kinds.iter().position(|kind| kind.key == *key);
        let mut kind = match at {
            Some(at) => state.kinds.remove(at),
            None => Kind { key: key.clone(), ready: VecDeque::new(), coming: 0 },
        };
        let found = kind.ready.pop_front().map(|(sandbox, _)| sandbox);
        state.kinds.push(kind);
        if state.kinds.len() > KINDS {
            let oldest = state.kinds.remove(0);
            state.retire(oldest.ready);
        }
        match found {
            Some(_) => state.stats.hits += 1,
            None => state.stats.misses += 1,
        }
        found
    }

    /// Whether fewer than half of those that are to wait do so.
    #[must_use]
    pub fn is_low(&self, key: &K) -> bool {
        let state = self.state();
        state.kinds.iter().any(|kind| kind.key == *key && kind.ready.len() * 2 < self.wanted)
    }

    /// One that was taken had ended: it was none.
    pub fn note_failed(&self) {
        let stats = &mut self.state().stats;
        stats.failed += 1;
        stats.hits = stats.hits.saturating_sub(1);
    }

    /// One that waits, of whatever kind, to make room for one that is needed.
    #[must_use]
    pub fn evict(&self) -> Option<T> {
        let mut state = self.state();
        let found = state.kinds.iter_mut().find_map(|kind| kind.ready.pop_front());
        state.stats.aged += u64::from(found.is_some());
        found.map(|(sandbox, _)| sandbox)
    }

    /// The kinds of which one more is to be made; each counts as coming.
    #[must_use]
    pub fn lacking(&self) -> Vec<K> {
        let wanted = self.wanted;
        let mut lacking = Vec::new();
        for kind in &mut self.state().kinds {
            while kind.ready.len() + kind.coming < wanted {
                kind.coming += 1;
                lacking.push(kind.key.clone());
            }
        }
        lacking
    }

    /// One that was coming has come, or has not.
    pub fn put(&self, key: &K, sandbox: Option<T>) {
        let mut state = self.state();
        match &sandbox {
            Some(_) => state.stats.made += 1,
            None => state.stats.failed += 1,
        }
        match state.kinds.iter_mut().find(|kind| kind.key == *key) {
            Some(kind) => {
                kind.coming = kind.coming.saturating_sub(1);
                kind.ready.extend(sandbox.map(|sandbox| (sandbox, Instant::now())));
            }
            // Nobody has asked for its kind for a while.
            None => state.retire(sandbox.map(|sandbox| (sandbox, Instant::now()))),
        }
    }

    /// There is no room for one that was coming.
    pub fn put_off(&self, key: &K) {
        if let Some(kind) = self.state().kinds.iter_mut().find(|kind| kind.key == *key) {
            kind.coming = kind.coming.saturating_sub(1);
        }
    }

    /// Those that have waited too long, and those whose kind nobody has asked for lately: they are given up.
    #[must_use]
    pub fn aged(&self) -> Vec<T> {
        let mut state = self.state();
        let mut aged = Vec::new();
        for kind in &mut state.kinds {
            while kind.ready.front().is_some_and(|(_, since)| since.elapsed() >= self.age) {
                aged.extend(kind.ready.pop_front());
            }
        }
        // A kind of which none was used for so long is not wanted any more.
        if !aged.is_empty() {
            state.kinds.retain(|kind| !kind.ready.is_empty() || kind.coming > 0);
        }
        state.retire(aged);
        std::mem::take(&mut state.retired)
    }

    /// Nobody will ask any more: gives all that are left.
    pub fn clear(&self) -> Vec<T> {
        let mut state = self.state();
        let kinds = std::mem::take(&mut state.kinds);
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        let ready = kinds.into_iter().flat_map(|kind| kind.ready).map(|(sandbox, _)| sandbox);
        retired.into_iter().chain(ready).collect()
    }
}

impl<K, T> State<K, T> {
    fn retire(&mut self, sandboxes: impl IntoIterator<Item = (T, Instant)>) {
        let before = self.retired.len();
        self.retired.extend(sandboxes.into_iter().map(|(sandbox, _)| sandbox));
        self.stats.aged += (self.retired.len() - before) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(age: Duration) -> ReadyPool<&'static str, u32> {
        ReadyPool::new(2, age)
    }

    #[test]
    fn what_was_asked_for_is_made_and_used_once() {
        let pool = pool(Duration::MAX);
        assert_eq!((pool.lacking(), pool.take(&"a")), (vec![], None));
        assert_eq!(pool.lacking(), ["a", "a"]);
        assert_eq!(pool.lacking(), [""; 0], "both are coming");
        pool.put(&"a", Some(1));
        pool.put(&"a", None);
        assert_eq!((pool.lacking(), pool.is_low(&"a")), (vec!["a"], false), "one has not come");
        assert_eq!((pool.take(&"a"), pool.take(&"a")), (Some(1), None));
        assert!(pool.is_low(&"a"));
        let stats = ReadyStats { hits: 1, misses: 2, made: 1, failed: 1, ..ReadyStats::default() };
        assert_eq!(pool.stats(), stats);
    }

    #[test]
    fn one_that_had_ended_is_no_hit() {
        let pool = pool(Duration::MAX);
        assert_eq!(pool.take(&"a"), None);
        pool.put(&"a", Some(1));
        assert_eq!(pool.take(&"a"), Some(1));
        pool.note_failed();
        let stats = ReadyStats { misses: 1, made: 1, failed: 1, ..ReadyStats::default() };
        assert_eq!(pool.stats(), stats);
    }

    #[test]
    fn kinds_that_nobody_asks_for_any_more_are_given_up() {
        let pool = pool(Duration::MAX);
        assert_eq!(pool.take(&"a"), None);
        pool.put(&"a", Some(1));
        for kind in ["b", "c", "d"] {
            assert_eq!(pool.take(&kind), None);
        }
        assert_eq!(pool.aged(), [0; 0]);
        assert_eq!(pool.take(&"e"), None);
        pool.put(&"a", Some(2));
        assert_eq!((pool.aged(), pool.stats().aged), (vec![1, 2], 2));
    }

    #[test]
    fn what_has_waited_too_long_is_given_up_and_its_kind_with_it() {
        let pool = pool(Duration::ZERO);
        assert_eq!(pool.take(&"a"), None);
        pool.put(&"a", Some(1));
        assert_eq!(pool.aged(), [1]);
        assert_eq!(pool.lacking(), [""; 0]);
    }

    #[test]
    fn nothing_is_kept_where_none_is_wanted_and_nothing_is_lost_at_the_end() {
        let none = ReadyPool::<&str, u32>::new(0, Duration::MAX);
        assert_eq!((none.take(&"a"), none.lacking().len(), none.is_wanted()), (None, 0, false));
        let pool = pool(Duration::MAX);
        assert_eq!(pool.take(&"a"), None);
        pool.put(&"a", Some(1));
        pool.put(&"b", Some(2));
        assert_eq!(pool.clear(), [2, 1]);
        assert_eq!(pool.stats().ready, 0);
    }
}
