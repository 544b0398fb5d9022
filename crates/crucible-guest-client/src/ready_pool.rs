//! A pool of sandboxes that are opened ahead of time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The number of kinds of items that a pool keeps: the most recently requested ones.
const KINDS_MAX: usize = 4;

/// Statistics of a pool of sandboxes that are opened ahead of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadyStats {
    /// The number of requests that a ready sandbox served.
    pub hits: u64,
    /// The number of requests for which no ready sandbox was available.
    pub misses: u64,
    /// Sandboxes that were opened ahead of time.
    pub made: u64,
    /// Sandboxes that were discarded because they had waited too long, or to make room.
    pub aged: u64,
    /// Sandboxes that had ended, or could not be opened.
    pub failed: u64,
    /// Sandboxes that are ready now.
    pub ready: u64,
}

/// A pool of items of type `T`, grouped by kinds of type `K`.
///
/// Items are used in one of two ways:
///
/// - Single use: [`take`](Self::take) removes the item that has waited longest, and a new one is
///   made in its place.
/// - Reuse: [`check_out`](Self::check_out) lends the item that was used last. It keeps its place
///   until [`give_back`](Self::give_back) or [`discard`](Self::discard).
///
/// The owner of the pool makes new items: it calls [`reserve_missing`](Self::reserve_missing), and
/// then [`complete`](Self::complete) or [`release`](Self::release) for each returned kind.
#[derive(Debug)]
pub struct ReadyPool<K, T> {
    wanted: usize,
    age_max: Duration,
    state: Mutex<PoolState<K, T>>,
}

/// The result of [`ReadyPool::check_out`].
#[derive(Debug)]
pub struct CheckOut<T> {
    /// The lent item, if a usable one was ready.
    pub item: Option<T>,
    /// Items of this kind are missing, so [`ReadyPool::reserve_missing`] is due.
    pub is_lacking: bool,
}

#[derive(Debug)]
struct PoolState<K, T> {
    /// The most recently requested kind is the last.
    kinds: Vec<PoolKind<K, T>>,
    /// Items to be discarded.
    retired: Vec<T>,
    stats: ReadyStats,
}

#[derive(Debug)]
struct PoolKind<K, T> {
    key: K,
    /// The ready items, the longest waiting first.
    ready: VecDeque<(T, Instant)>,
    /// Places of items that are being made or are checked out.
    reserved: usize,
}

impl<K: PartialEq + Clone, T> ReadyPool<K, T> {
    /// Creates a pool that keeps `wanted` items of each recently requested kind, each for at most
    /// `age_max`.
    #[must_use]
    pub fn new(wanted: usize, age_max: Duration) -> Self {
        let state =
            PoolState { kinds: Vec::new(), retired: Vec::new(), stats: ReadyStats::default() };
        Self { wanted, age_max, state: Mutex::new(state) }
    }

    /// The state is consistent even if a thread panicked while it held the lock.
    fn state(&self) -> MutexGuard<'_, PoolState<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the pool keeps any items.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted > 0
    }

    /// Returns the statistics of the pool.
    #[must_use]
    pub fn stats(&self) -> ReadyStats {
        let state = self.state();
        let ready = state.kinds.iter().map(|kind| kind.ready.len() as u64).sum();
        ReadyStats { ready, ..state.stats }
    }

    /// Registers a kind before its first request.
    pub fn register(&self, key: &K) {
        let mut state = self.state();
        if state.kind(key).is_none() {
            state.kinds.push(PoolKind::new(key));
        }
    }

    /// Removes and returns the item of this kind that has waited longest.
    #[must_use]
    pub fn take(&self, key: &K) -> Option<T> {
        if self.wanted == 0 {
            return None;
        }
        let mut state = self.state();
        let taken = state.request(key, |kind| kind.ready.pop_front());
        state.count_request(taken.is_some());
        taken.map(|(item, _)| item)
    }

    /// Lends the most recently used item of this kind for which `is_usable` returns `true`.
    ///
    /// If every ready item is unusable, the longest waiting one is discarded to make room for
    /// another.
    pub fn check_out(&self, key: &K, is_usable: impl Fn(&T) -> bool) -> CheckOut<T> {
        let mut state = self.state();
        let (lent, unusable, is_lacking) = state.request(key, |kind| {
            let index = kind.ready.iter().rposition(|(item, _)| is_usable(item));
            let (lent, unusable) = match index {
                Some(index) => (kind.ready.remove(index), None),
                None => (None, kind.ready.pop_front()),
            };
            kind.reserved += usize::from(lent.is_some());
            (lent, unusable, kind.places() < self.wanted)
        });
        state.retire(unusable);
        state.count_request(lent.is_some());
        CheckOut { item: lent.map(|(item, _)| item), is_lacking }
    }

    /// Returns an item that was [checked out](Self::check_out). If its kind was evicted, the
    /// caller gets it back.
    pub fn give_back(&self, key: &K, item: T) -> Option<T> {
        match self.state().kind(key) {
            Some(kind) => {
                kind.reserved = kind.reserved.saturating_sub(1);
                kind.ready.push_back((item, Instant::now()));
                None
            }
            None => Some(item),
        }
    }

    /// Frees the place of an item that was checked out and will not be given back.
    pub fn discard(&self, key: &K) {
        self.state().stats.aged += 1;
        self.release(key);
    }

    /// Returns `true` if fewer than half of the wanted items of this kind are ready.
    #[must_use]
    pub fn is_low(&self, key: &K) -> bool {
        self.state().kind(key).is_some_and(|kind| kind.ready.len() * 2 < self.wanted)
    }

    /// Records that an item had already ended when it was taken, so the request was not served.
    pub fn record_failed(&self) {
        let stats = &mut self.state().stats;
        stats.failed += 1;
        stats.hits = stats.hits.saturating_sub(1);
    }

    /// Removes a ready item of any kind to make room.
    #[must_use]
    pub fn evict(&self) -> Option<T> {
        let mut state = self.state();
        let evicted = state.kinds.iter_mut().find_map(|kind| kind.ready.pop_front());
        state.stats.aged += u64::from(evicted.is_some());
        evicted.map(|(item, _)| item)
    }

    /// Reserves a place for each missing item, and returns the kinds of these items.
    #[must_use]
    pub fn reserve_missing(&self) -> Vec<K> {
        let wanted = self.wanted;
        let mut missing = Vec::new();
        for kind in &mut self.state().kinds {
            while kind.places() < wanted {
                kind.reserved += 1;
                missing.push(kind.key.clone());
            }
        }
        missing
    }

    /// Adds the item for a reserved place, or records with `None` that it could not be made.
    pub fn complete(&self, key: &K, item: Option<T>) {
        let mut state = self.state();
        match &item {
            Some(_) => state.stats.made += 1,
            None => state.stats.failed += 1,
        }
        let item = item.map(|item| (item, Instant::now()));
        match state.kind(key) {
            Some(kind) => {
                kind.reserved = kind.reserved.saturating_sub(1);
                kind.ready.extend(item);
            }
            // The kind was evicted while the item was made.
            None => state.retire(item),
        }
    }

    /// Frees a reserved place without an item.
    pub fn release(&self, key: &K) {
        if let Some(kind) = self.state().kind(key) {
            kind.reserved = kind.reserved.saturating_sub(1);
        }
    }

    /// Removes and returns the items that exceed the maximum age, and the items of evicted kinds.
    #[must_use]
    pub fn take_expired(&self) -> Vec<T> {
        let mut state = self.state();
        let mut expired = Vec::new();
        for kind in &mut state.kinds {
            while kind.ready.front().is_some_and(|(_, since)| since.elapsed() >= self.age_max) {
                expired.extend(kind.ready.pop_front());
            }
        }
        // A kind without a request for so long is evicted.
        if !expired.is_empty() {
            state.kinds.retain(|kind| kind.places() > 0);
        }
        state.retire(expired);
        std::mem::take(&mut state.retired)
    }

    /// Removes and returns all items, and evicts all kinds.
    pub fn clear(&self) -> Vec<T> {
        let mut state = self.state();
        let kinds = std::mem::take(&mut state.kinds);
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        let ready = kinds.into_iter().flat_map(|kind| kind.ready).map(|(item, _)| item);
        retired.into_iter().chain(ready).collect()
    }
}

impl<K: PartialEq + Clone, T> PoolState<K, T> {
    fn kind(&mut self, key: &K) -> Option<&mut PoolKind<K, T>> {
        self.kinds.iter_mut().find(|kind| kind.key == *key)
    }

    /// Serves a request from a kind, which becomes the most recently requested one. The least
    /// recently requested kind is evicted if there are too many.
    fn request<R>(&mut self, key: &K, serve: impl FnOnce(&mut PoolKind<K, T>) -> R) -> R {
        let index = self.kinds.iter().position(|kind| kind.key == *key);
        let mut kind = index.map_or_else(|| PoolKind::new(key), |index| self.kinds.remove(index));
        let served = serve(&mut kind);
        self.kinds.push(kind);
        if self.kinds.len() > KINDS_MAX {
            let oldest = self.kinds.remove(0);
            self.retire(oldest.ready);
        }
        served
    }

    fn count_request(&mut self, is_hit: bool) {
        if is_hit {
            self.stats.hits += 1;
        } else {
            self.stats.misses += 1;
        }
    }

    fn retire(&mut self, items: impl IntoIterator<Item = (T, Instant)>) {
        let before = self.retired.len();
        self.retired.extend(items.into_iter().map(|(item, _)| item));
        self.stats.aged += (self.retired.len() - before) as u64;
    }
}

impl<K: Clone, T> PoolKind<K, T> {
    fn new(key: &K) -> Self {
        Self { key: key.clone(), ready: VecDeque::new(), reserved: 0 }
    }

    /// Returns the number of ready items and reserved places.
    fn places(&self) -> usize {
        self.ready.len() + self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(age_max: Duration) -> ReadyPool<&'static str, u32> {
        ReadyPool::new(2, age_max)
    }

    #[test]
    fn requested_kind_is_made_and_used_once() {
        let pool = pool(Duration::MAX);
        assert_eq!((pool.reserve_missing(), pool.take(&"a")), (vec![], None));
        assert_eq!(pool.reserve_missing(), ["a", "a"]);
        assert_eq!(pool.reserve_missing(), [""; 0], "both places are reserved");
        pool.complete(&"a", Some(1));
        pool.complete(&"a", None);
        assert_eq!((pool.reserve_missing(), pool.is_low(&"a")), (vec!["a"], false));
        assert_eq!((pool.take(&"a"), pool.take(&"a")), (Some(1), None));
        assert!(pool.is_low(&"a"));
        let stats = ReadyStats { hits: 1, misses: 2, made: 1, failed: 1, ..ReadyStats::default() };
        assert_eq!(pool.stats(), stats);
    }

    #[test]
    fn item_that_had_ended_is_not_a_hit() {
        let pool = pool(Duration::MAX);
        assert_eq!(pool.take(&"a"), None);
        pool.complete(&"a", Some(1));
        assert_eq!(pool.take(&"a"), Some(1));
        pool.record_failed();
        let stats = ReadyStats { misses: 1, made: 1, failed: 1, ..ReadyStats::default() };
        assert_eq!(pool.stats(), stats);
    }

    #[test]
    fn least_recently_requested_kind_is_retired() {
        let pool = pool(Duration::MAX);
        assert_eq!(pool.take(&"a"), None);
        pool.complete(&"a", Some(1));
        for kind in ["b", "c", "d"] {
            assert_eq!(pool.take(&kind), None);
        }
        assert_eq!(pool.take_expired(), [0; 0]);
        assert_eq!(pool.take(&"e"), None);
        pool.complete(&"a", Some(2));
        assert_eq!((pool.take_expired(), pool.stats().aged), (vec![1, 2], 2));
    }

    #[test]
    fn expired_item_is_retired_together_with_its_kind() {
        let pool = pool(Duration::ZERO);
        assert_eq!(pool.take(&"a"), None);
        pool.complete(&"a", Some(1));
        assert_eq!(pool.take_expired(), [1]);
        assert_eq!(pool.reserve_missing(), [""; 0]);
    }

    #[test]
    fn disabled_pool_is_empty_and_clear_returns_all_items() {
        let none = ReadyPool::<&str, u32>::new(0, Duration::MAX);
        let missing = none.reserve_missing().len();
        assert_eq!((none.take(&"a"), missing, none.is_wanted()), (None, 0, false));
        let pool = pool(Duration::MAX);
        assert_eq!(pool.take(&"a"), None);
        pool.complete(&"a", Some(1));
        pool.complete(&"b", Some(2));
        assert_eq!(pool.clear(), [2, 1]);
        assert_eq!(pool.stats().ready, 0);
    }

    #[test]
    fn checked_out_item_keeps_its_place_until_returned() {
        let pool = pool(Duration::MAX);
        pool.register(&"a");
        for item in [1, 2] {
            pool.complete(&"a", Some(item));
        }
        let lent = pool.check_out(&"a", |_| true);
        assert_eq!((lent.item, lent.is_lacking), (Some(2), false), "the last used item");
        assert_eq!((pool.reserve_missing().len(), pool.give_back(&"a", 2)), (0, None));
        assert_eq!(pool.check_out(&"a", |_| true).item, Some(2));
        pool.discard(&"a");
        assert_eq!((pool.reserve_missing(), pool.stats().aged), (vec!["a"], 1));
    }

    #[test]
    fn unusable_item_is_retired_to_make_room() {
        let pool = pool(Duration::MAX);
        pool.register(&"a");
        pool.complete(&"a", Some(1));
        pool.complete(&"a", Some(2));
        let lent = pool.check_out(&"a", |item| *item == 3);
        assert_eq!((lent.item, lent.is_lacking), (None, true));
        assert_eq!((pool.take_expired(), pool.reserve_missing()), (vec![1], vec!["a"]));
    }

    #[test]
    fn item_of_an_evicted_kind_is_not_taken_back() {
        let pool = pool(Duration::MAX);
        pool.register(&"a");
        pool.complete(&"a", Some(1));
        assert_eq!(pool.check_out(&"a", |_| true).item, Some(1));
        for kind in ["b", "c", "d", "e"] {
            assert_eq!(pool.check_out(&kind, |_| true).item, None);
        }
        assert_eq!(pool.give_back(&"a", 1), Some(1));
    }
}
