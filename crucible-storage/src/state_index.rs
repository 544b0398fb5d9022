//! An index of records by state.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crucible_core::{EvaluationId, RecordQuery, RecordState};

/// The ids of all records by state. A page of queued records does not visit the finished ones.
#[derive(Debug, Default)]
pub(crate) struct StateIndex {
    /// INVARIANT: each record is in exactly one set, that of its state.
    by_state: BTreeMap<RecordState, BTreeSet<EvaluationId>>,
}

impl StateIndex {
    /// Moves a record from the state `before` to `state`.
    pub(crate) fn set(
        &mut self,
        id: EvaluationId,
        before: Option<RecordState>,
        state: RecordState,
    ) {
        if before == Some(state) {
            return;
        }
        if let Some(ids) = before.and_then(|before| self.by_state.get_mut(&before)) {
            ids.remove(&id);
        }
        self.by_state.entry(state).or_default().insert(id);
    }

    /// Removes a record in `state`.
    pub(crate) fn remove(&mut self, id: EvaluationId, state: RecordState) {
        if let Some(ids) = self.by_state.get_mut(&state) {
            ids.remove(&id);
        }
    }

    /// Returns the ids of the records in the states of a query, in its order and after its cursor.
    /// Ignores the other conditions of the query.
    pub(crate) fn ids(&self, query: &RecordQuery) -> impl Iterator<Item = EvaluationId> {
        let wanted = |state: &RecordState| query.states.is_empty() || query.states.contains(state);
        let sets: Vec<_> =
            self.by_state.iter().filter(|(state, _)| wanted(state)).map(|(_, ids)| ids).collect();
        let (mut cursor, newest_first) = (query.after, query.newest_first);
        // Merge the sorted sets: take the first of the next ids of all sets.
        std::iter::from_fn(move || {
            let beyond = cursor.map_or(Bound::Unbounded, Bound::Excluded);
            let next = if newest_first {
                sets.iter()
                    .filter_map(|ids| ids.range((Bound::Unbounded, beyond)).next_back())
                    .max()
            } else {
                sets.iter().filter_map(|ids| ids.range((beyond, Bound::Unbounded)).next()).min()
            };
            // At the end the cursor stays, so that the iterator is fused.
            let next = *next?;
            cursor = Some(next);
            cursor
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_merged_in_id_order() {
        let ids: Vec<_> = (0..9).map(|_| EvaluationId::new()).collect();
        let mut index = StateIndex::default();
        for (number, id) in ids.iter().enumerate() {
            index.set(*id, None, RecordState::Queued);
            if number % 3 > 0 {
                index.set(*id, Some(RecordState::Queued), RecordState::Running);
            }
            if number % 3 > 1 {
                index.set(*id, Some(RecordState::Running), RecordState::Finished);
            }
        }
        let found = |query: RecordQuery| -> Vec<_> {
            index.ids(&query).map(|id| ids.iter().position(|other| *other == id).unwrap()).collect()
        };
        assert_eq!(found(RecordQuery::new()), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        // A state that occurs twice returns its records once.
        let two = RecordQuery::new()
            .with_state(RecordState::Queued)
            .with_state(RecordState::Finished)
            .with_state(RecordState::Queued);
        assert_eq!(found(two.clone()), [0, 2, 3, 5, 6, 8]);
        assert_eq!(found(two.clone().with_after(ids[3])), [5, 6, 8]);
        assert_eq!(
            found(two.clone().with_after(ids[4])),
            [5, 6, 8],
            "the cursor is in another state"
        );
        assert_eq!(found(two.with_after(ids[5]).with_newest_first()), [3, 2, 0]);
        assert!(found(RecordQuery::new().with_state(RecordState::Expired)).is_empty());
        let all = RecordQuery::new();
        let mut exhausted = index.ids(&all).skip(ids.len());
        assert_eq!((exhausted.next(), exhausted.next()), (None, None), "the iterator is fused");
    }
}
