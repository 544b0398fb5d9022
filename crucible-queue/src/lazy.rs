//! A queue whose items may die while they wait.

use std::collections::VecDeque;

/// So few dead items are not worth a sweep.
const DEAD_IGNORED: usize = 32;

/// A first-in, first-out queue whose items may die in the middle of it. Finding a dead item there would take a search,
/// so it stays: it is skipped when it comes to the front, or swept out as soon as the dead outnumber the living. Every
/// operation takes constant time, averaged over all; the dead never take more room than the living and a few.
#[derive(Debug)]
pub(crate) struct Lazy<T> {
    items: VecDeque<T>,
    /// How many of `items` are dead.
    dead: usize,
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), dead: 0 }
    }
}

impl<T> Lazy<T> {
    pub(crate) fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    /// The first living item.
    pub(crate) fn first(&mut self, is_alive: impl Fn(&T) -> bool) -> Option<&T> {
        while self.items.front().is_some_and(|item| !is_alive(item)) {
            self.items.pop_front();
            self.dead = self.dead.saturating_sub(1);
        }
        self.items.front()
    }

    /// Takes the first living item out.
    pub(crate) fn pop_first(&mut self, is_alive: impl Fn(&T) -> bool) -> Option<T> {
        self.first(is_alive)?;
        self.items.pop_front()
    }

    /// Takes note that one more of the items has died.
    pub(crate) fn note_death(&mut self, is_alive: impl Fn(&T) -> bool) {
        self.dead += 1;
        if self.dead > DEAD_IGNORED && self.dead > self.items.len() / 2 {
            self.items.retain(is_alive);
            self.dead = 0;
        }
    }

    /// How many items take room, dead ones included.
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
    fn the_dead_are_skipped_and_the_living_keep_their_order() {
        let mut lazy = Lazy::default();
        let mut alive: HashSet<u32> = (0..10).collect();
        (0..10).for_each(|item| lazy.push(item));
        for dead in [0, 1, 5, 9] {
            alive.remove(&dead);
            lazy.note_death(|item| alive.contains(item));
        }
        let mut taken = Vec::new();
        while let Some(item) = lazy.pop_first(|item| alive.contains(item)) {
            taken.push(item);
        }
        assert_eq!(taken, [2, 3, 4, 6, 7, 8]);
        assert_eq!((lazy.len(), lazy.dead), (0, 0));
    }

    #[test]
    fn the_dead_do_not_pile_up_behind_a_living_front() {
        let mut lazy = Lazy::default();
        let mut alive = HashSet::from([0_u32]);
        lazy.push(0);
        for item in 1..10_000 {
            lazy.push(item);
            alive.insert(item);
            alive.remove(&item);
            lazy.note_death(|item| alive.contains(item));
            assert!(
                lazy.len() <= 2 * alive.len() + DEAD_IGNORED,
                "{} items for one living",
                lazy.len()
            );
        }
        assert_eq!(lazy.first(|item| alive.contains(item)), Some(&0));
    }
}
