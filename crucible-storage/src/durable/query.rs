//! Record queries: a join of sorted lists of ids.
//!
//! Each condition of a query has an index, which is a list of ids in the order of the query. The
//! join moves a list that is behind the others directly to their position, so that the shortest
//! list determines the cost.

use crucible_core::{
    CorruptRecord, EvaluationId, Record, RecordPage, RecordQuery, RecordState, StorageError,
    error_chain,
};
use crucible_kv::StoreReader;

use super::error::StorageFailure;
use super::id_list::{Direction, IdNumber, IdUnion, id, number};
use super::record_row::RecordRow;
use super::storage_view::StorageView;
use super::{keys, time_index};

/// The ids that are in all of several unions, within bounds.
struct IdJoin {
    unions: Vec<IdUnion>,
    direction: Direction,
    /// The position of the next search; `None` at the end.
    from: Option<IdNumber>,
    /// The last number of the result.
    last: IdNumber,
}

impl IdJoin {
    fn of(map: StoreReader<'_>, query: &RecordQuery) -> Result<Self, StorageFailure> {
        let direction =
            if query.newest_first { Direction::Descending } else { Direction::Ascending };
        let unions = unions(query, direction);
        let (mut min, mut max) = (IdNumber::MIN, IdNumber::MAX);
        if query.submitted_from.is_some() || query.submitted_before.is_some() {
            match time_index::bounds(map, query.submitted_from, query.submitted_before)? {
                Some(bounds) => (min, max) = (number(bounds.0), number(bounds.1)),
                None => return Ok(Self { unions, direction, from: None, last: IdNumber::MIN }),
            }
        }
        let (first, last) = if query.newest_first { (max, min) } else { (min, max) };
        let from = match query.after.map(|after| direction.next(number(after))) {
            None => Some(first),
            Some(next) => {
                next.map(|next| if direction.is_before(first, next) { next } else { first })
            }
        };
        Ok(Self { unions, direction, from, last })
    }

    fn next(&mut self, map: StoreReader<'_>) -> Result<Option<EvaluationId>, StorageFailure> {
        let Some(mut candidate) = self.from.take() else { return Ok(None) };
        // The number of consecutive unions that contain the candidate.
        let mut agreed = 0;
        let count = self.unions.len();
        for index in (0..count).cycle() {
            let Some(union) = self.unions.get_mut(index) else { break };
            let Some(found) = union.seek(map, candidate)? else { return Ok(None) };
            if self.direction.is_before(self.last, found) {
                return Ok(None);
            }
            agreed = if found == candidate { agreed + 1 } else { 1 };
            candidate = found;
            if agreed == count {
                self.from = self.direction.next(candidate);
                return Ok(Some(id(candidate)));
            }
        }
        Ok(None)
    }
}

/// Returns one union for each condition of a query.
fn unions(query: &RecordQuery, direction: Direction) -> Vec<IdUnion> {
    let states: Vec<RecordState> = match query.states.as_slice() {
        [] => RecordState::ALL.to_vec(),
        states => states.to_vec(),
    };
    let mut unions = Vec::new();
    if let Some(tenant) = &query.tenant {
        let prefix = |state| keys::of_tenant(tenant, state);
        unions.push(IdUnion::of_states(&states, direction, prefix));
    }
    for (name, value) in &query.labels {
        let prefix = |state| keys::with_label(name, value, state);
        unions.push(IdUnion::of_states(&states, direction, prefix));
    }
    // Queued evaluations are found in the class of live evaluations, because few of these are
    // running. Running evaluations have a list of their own.
    let running_only =
        states.contains(&RecordState::Running) && !states.contains(&RecordState::Queued);
    if running_only || unions.is_empty() {
        unions.push(IdUnion::of_states(&states, direction, |state| match state {
            RecordState::Running if running_only => keys::running(),
            other => keys::of_class(other),
        }));
    }
    unions
}

impl StorageView<'_> {
    /// Returns the records of a query.
    pub(super) fn page(&self, query: &RecordQuery) -> Result<RecordPage, StorageFailure> {
        let mut join = IdJoin::of(self.map, query)?;
        let (mut records, mut corrupt) = (Vec::new(), Vec::new());
        while let Some(id) = join.next(self.map)? {
            if !self.may_match(id, query)? {
                continue;
            }
            let record = match self.load(id) {
                Ok(Some(loaded)) => loaded.record,
                // Another caller has removed it.
                Ok(None) => continue,
                Err(StorageFailure(error @ StorageError::Corrupt { .. })) => {
                    corrupt.push(CorruptRecord::new(id, error_chain(&error)));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !query.matches(&record) {
                continue;
            }
            if records.len() == query.page_size() {
                let next = records.last().map(|record: &Record| record.id);
                // Corrupt records after the last record belong to the next page.
                corrupt.retain(|corrupt| {
                    next.is_some_and(|next| {
                        join.direction.is_before(number(corrupt.evaluation), number(next))
                    })
                });
                return Ok(RecordPage::new(records, next).with_corrupt(corrupt));
            }
            records.push(record);
        }
        Ok(RecordPage::new(records, None).with_corrupt(corrupt))
    }

    /// Returns `false` if a record's row proves that the record does not match.
    fn may_match(&self, id: EvaluationId, query: &RecordQuery) -> Result<bool, StorageFailure> {
        if query.submitted_from.is_none() && query.submitted_before.is_none() {
            return Ok(true);
        }
        let Some(value) = self.map.get(&keys::row(id))? else { return Ok(true) };
        // The page must name a corrupt record.
        let Ok(RecordRow { submitted_at, .. }) = RecordRow::decode(id, &value) else {
            return Ok(true);
        };
        Ok(query.submitted_from.is_none_or(|from| submitted_at >= from)
            && query.submitted_before.is_none_or(|before| submitted_at < before))
    }
}
