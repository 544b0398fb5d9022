//! Finding the records that a query asks for: a join of sorted lists of ids.
//!
//! Each condition has an index: a list of ids in the order of the query, of which the map can say what comes next from any
//! place on. A list that is behind the others leaps to where they are, so that the shortest list sets the pace.

use std::collections::VecDeque;

use bytes::Bytes;
use crucible_core::{
    CorruptRecord, EvaluationId, Record, RecordPage, RecordQuery, RecordState, StorageError,
    error_chain,
};
use crucible_kv::Range;

use super::buckets;
use super::error::Failure;
use super::keys;
use super::reading::{View, decode_row};
use super::row::Row;

/// How many ids are read at once of a list at first; twice as many each time it goes on where it was.
const FIRST: usize = 32;
const MOST: usize = 512;

/// Ids as numbers, so that there is a next one.
type Number = u128;

fn number(id: EvaluationId) -> Number {
    Number::from_be_bytes(id.to_bytes())
}

fn id(number: Number) -> EvaluationId {
    EvaluationId::from_bytes(number.to_be_bytes())
}

/// Which way ids are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    /// Whether `a` comes before `b`.
    fn is_before(self, a: Number, b: Number) -> bool {
        match self {
            Self::Up => a < b,
            Self::Down => a > b,
        }
    }

    /// What comes right after a number; `None` if nothing can.
    fn beyond(self, number: Number) -> Option<Number> {
        match self {
            Self::Up => number.checked_add(1),
            Self::Down => number.checked_sub(1),
        }
    }
}

/// One sorted list of ids in the map.
struct List {
    prefix: Bytes,
    way: Way,
    /// What was read ahead.
    ahead: VecDeque<Number>,
    /// Whether there is nothing after what was read ahead.
    ended: bool,
    read_next: usize,
}

impl List {
    fn new(prefix: Bytes, way: Way) -> Self {
        Self { prefix, way, ahead: VecDeque::new(), ended: false, read_next: FIRST }
    }

    /// Goes to the first id at `from` or beyond; says whether it had to read for that. `from` never goes back.
    fn seek(&mut self, view: &View<'_>, from: Number) -> Result<bool, Failure> {
        let had_some = !self.ahead.is_empty();
        let mut went_on = false;
        while self.ahead.front().is_some_and(|first| self.way.is_before(*first, from)) {
            went_on = self.ahead.pop_front().is_some();
        }
        if self.ahead.is_empty() && !self.ended {
            // After a leap little is read, for the next may follow at once.
            self.read_next =
                if had_some && went_on { (self.read_next * 2).min(MOST) } else { FIRST };
            self.read(view, from)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Forgets what was read ahead.
    fn forget(&mut self) {
        self.ahead.clear();
        self.ended = false;
    }

    fn read(&mut self, view: &View<'_>, from: Number) -> Result<(), Failure> {
        let mut range = Range::prefix(self.prefix.clone());
        if self.way == Way::Down {
            range = range.reversed();
        }
        // `after` leaves its key out, and `from` is wanted.
        let before = match self.way {
            Way::Up => from.checked_sub(1),
            Way::Down => from.checked_add(1),
        };
        if let Some(before) = before {
            range = range.after(keys::indexed(&self.prefix, id(before)));
        }
        let found = view.map.scan(&range, self.read_next)?;
        self.ended = found.len() < self.read_next;
        self.ahead.extend(found.iter().filter_map(|(key, _)| keys::id(key)).map(number));
        Ok(())
    }
}

/// The ids of any of some lists.
///
/// INVARIANT: evaluations move from a list to one after it, and never back; and what was read of a list was read after what
/// was read of the lists before it. So one that moves meanwhile is in the one or in the other.
struct Union {
    lists: Vec<List>,
    way: Way,
}

impl Union {
    /// The lists of the classes of some states, those that can change first.
    fn of_classes(states: &[RecordState], way: Way, prefix: impl Fn(RecordState) -> Bytes) -> Self {
        let mut states = states.to_vec();
        states.sort_unstable_by_key(|state| state.is_terminal());
        let mut lists: Vec<List> = Vec::new();
        for prefix in states.into_iter().map(prefix) {
            if lists.iter().all(|list| list.prefix != prefix) {
                lists.push(List::new(prefix, way));
            }
        }
        Self { lists, way }
    }

    fn seek(&mut self, view: &View<'_>, from: Number) -> Result<Option<Number>, Failure> {
        let mut first = None;
        let mut has_read = false;
        for list in &mut self.lists {
            if has_read {
                list.forget();
            }
            has_read |= list.seek(view, from)?;
            if let Some(number) = list.ahead.front().copied()
                && first.is_none_or(|first| self.way.is_before(number, first))
            {
                first = Some(number);
            }
        }
        Ok(first)
    }
}

/// The ids in all of some unions, from one place to another.
struct Join {
    unions: Vec<Union>,
    way: Way,
    /// Where to go on; `None` at the end.
    from: Option<Number>,
    /// The last number that is wanted.
    last: Number,
}

impl Join {
    fn of(view: &View<'_>, query: &RecordQuery) -> Result<Self, Failure> {
        let way = if query.newest_first { Way::Down } else { Way::Up };
        let states: Vec<RecordState> = match query.states.as_slice() {
            [] => RecordState::ALL.to_vec(),
            states => states.to_vec(),
        };
        let mut unions = Vec::new();
        if let Some(tenant) = &query.tenant {
            unions.push(Union::of_classes(&states, way, |state| keys::of_tenant(tenant, state)));
        }
        for (name, value) in &query.labels {
            unions.push(Union::of_classes(&states, way, |state| {
                keys::with_label(name, value, state)
            }));
        }
        // What is queued is found among all that has not ended, of which little runs. What runs has a list of its own.
        let runs_only =
            states.contains(&RecordState::Running) && !states.contains(&RecordState::Queued);
        if runs_only || unions.is_empty() {
            unions.push(Union::of_classes(&states, way, |state| match state {
                RecordState::Running if runs_only => keys::running(),
                other => keys::of_class(other),
            }));
        }
        let (mut least, mut most) = (Number::MIN, Number::MAX);
        let mut from = None;
        if query.submitted_from.is_some() || query.submitted_before.is_some() {
            match buckets::bounds(view.map, query.submitted_from, query.submitted_before)? {
                Some(bounds) => (least, most) = (number(bounds.0), number(bounds.1)),
                None => return Ok(Self { unions, way, from, last: Number::MIN }),
            }
        }
        let (first, last) = if query.newest_first { (most, least) } else { (least, most) };
        from = match query.after.map(|after| way.beyond(number(after))) {
            None => Some(first),
            Some(beyond) => {
                beyond.map(|beyond| if way.is_before(first, beyond) { beyond } else { first })
            }
        };
        Ok(Self { unions, way, from, last })
    }

    fn next(&mut self, view: &View<'_>) -> Result<Option<EvaluationId>, Failure> {
        let Some(mut candidate) = self.from.take() else { return Ok(None) };
        // How many unions in a row have the candidate.
        let mut agreed = 0;
        let count = self.unions.len();
        for index in (0..count).cycle() {
            let Some(union) = self.unions.get_mut(index) else { break };
            let Some(found) = union.seek(view, candidate)? else { return Ok(None) };
            if self.way.is_before(self.last, found) {
                return Ok(None);
            }
            agreed = if found == candidate { agreed + 1 } else { 1 };
            candidate = found;
            if agreed == count {
                self.from = self.way.beyond(candidate);
                return Ok(Some(id(candidate)));
            }
        }
        Ok(None)
    }
}

impl View<'_> {
    /// Whether a record may be wanted, as far as its row can tell with little work.
    fn may_match(&self, id: EvaluationId, query: &RecordQuery) -> Result<bool, Failure> {
        if query.submitted_from.is_none() && query.submitted_before.is_none() {
            return Ok(true);
        }
        let Some(value) = self.map.get(&keys::row(id))? else { return Ok(true) };
        // One that cannot be read is to be named.
        let Ok(Row { submitted_at, .. }) = decode_row(id, &value) else { return Ok(true) };
        Ok(query.submitted_from.is_none_or(|from| submitted_at >= from)
            && query.submitted_before.is_none_or(|before| submitted_at < before))
    }

    /// The records that a query asks for.
    pub(super) fn page(&self, query: &RecordQuery) -> Result<RecordPage, Failure> {
        let mut join = Join::of(self, query)?;
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        while let Some(id) = join.next(self)? {
            if !self.may_match(id, query)? {
                continue;
            }
            let record = match self.load(id) {
                Ok(Some(loaded)) => loaded.record,
                // Removed since.
                Ok(None) => continue,
                Err(Failure(error @ StorageError::Corrupt { .. })) => {
                    damaged.push(CorruptRecord::new(id, error_chain(&error)));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !query.matches(&record) {
                continue;
            }
            if records.len() == query.page_size() {
                let next = records.last().map(|record: &Record| record.id);
                // What is damaged beyond the last record is of the next page.
                damaged.retain(|damaged| {
                    next.is_some_and(|next| {
                        join.way.is_before(number(damaged.evaluation), number(next))
                    })
                });
                return Ok(RecordPage::new(records, next).with_corrupt(damaged));
            }
            records.push(record);
        }
        Ok(RecordPage::new(records, None).with_corrupt(damaged))
    }
}
