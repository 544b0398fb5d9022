//! A queue with lazy removal.

use std::collections::VecDeque;

/// The number of dead items below which a sweep is not worthwhile.
const SWEEP_MIN: usize = 32;

/// A first-in, first-out queue with lazy removal from the middle.
///
/// Finding an item in the middle would need a search. A removed item therefore stays as a dead
/// item. The queue skips it at the front, or sweeps all dead items once they outnumber the live
/// ones. Every operation takes constant amortized time. Dead items never use more space than the
/// live items and a small constant.
#[derive(Debug)]
pub(crate) struct TombstoneQueue<T> {
    items: VecDeque<T>,
    /// The number of dead `items`.
    dead: usize,
}

impl<T> Default for TombstoneQueue<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), dead: 0 }
    }
}

impl<T> TombstoneQueue<T> {
    pub(crate) fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    /// Returns the first live item.
    pub(crate) fn first(&mut self, is_live: impl Fn(&T) -> bool) -> Option<&T> {
        while self.items.front().is_some_and(|item| !is_live(item)) {
            self.items.pop_front();
            self.dead = self.dead.saturating_sub(1);
        }
        self.items.front()
    }

    /// Removes and returns the first live item.
    pub(crate) fn pop_first(&mut self, is_live: impl Fn(&T) -> bool) -> Option<T> {
        self.first(is_live)?;
        self.items.pop_front()
    }

    /// Counts one more dead item, and sweeps if there are too many.
    pub(crate) fn note_removal(&mut self, is_live: impl Fn(&T) -> bool) {
        self.dead += 1;
        if self.dead > SWEEP_MIN && self.dead > self.items.len() / 2 {
            self.items.retain(is_live);
            self.dead = 0;
        }
    }

    /// Returns the number of items, including dead ones.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn dead_items_are_skipped_in_order() {
        let mut queue = TombstoneQueue::default();
        let mut live: HashSet<u32> = (0..10).collect();
        (0..10).for_each(|item| queue.push(item));
        for dead in [0, 1, 5, 9] {
            live.remove(&dead);
            queue.note_removal(|item| live.contains(item));
        }
        let mut taken = Vec::new();
        while let Some(item) = queue.pop_first(|item| live.contains(item)) {
            taken.push(item);
        }
        assert_eq!(taken, [2, 3, 4, 6, 7, 8]);
        assert_eq!((queue.len(), queue.dead), (0, 0));
    }

    #[test]
    fn dead_items_behind_live_front_are_swept() {
        let mut queue = TombstoneQueue::default();
        let mut live = HashSet::from([0_u32]);
        queue.push(0);
        for item in 1..10_000 {
            queue.push(item);
            live.insert(item);
            live.remove(&item);
            queue.note_removal(|item| live.contains(item));
            let items = queue.len();
            assert!(items <= 2 * live.len() + SWEEP_MIN, "{items} items, 1 of them live");
        }
        assert_eq!(queue.first(|item| live.contains(item)), Some(&0));
    }
}
