//! Sorted lists of evaluation ids in the store, and unions of such lists.

use std::collections::VecDeque;

use bytes::Bytes;
use crucible_core::{EvaluationId, RecordState};
use crucible_kv::{Range, StoreReader};

use super::error::StorageFailure;
use super::keys;

/// The number of ids in the first read of a list. It doubles with each consecutive read.
const READ_MIN: usize = 32;

/// The maximum number of ids in a read.
const READ_MAX: usize = 512;

/// An id as a number, so that it has a successor.
pub(super) type IdNumber = u128;

/// Returns the number of an id.
pub(super) fn number(id: EvaluationId) -> IdNumber {
    IdNumber::from_be_bytes(id.to_bytes())
}

/// Returns the id with a number.
pub(super) fn id(number: IdNumber) -> EvaluationId {
    EvaluationId::from_bytes(number.to_be_bytes())
}

/// The order in which ids are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

impl Direction {
    /// Returns `true` if `a` comes before `b`.
    pub(super) fn is_before(self, a: IdNumber, b: IdNumber) -> bool {
        match self {
            Self::Ascending => a < b,
            Self::Descending => a > b,
        }
    }

    /// Returns the next number; `None` at the end.
    pub(super) fn next(self, number: IdNumber) -> Option<IdNumber> {
        match self {
            Self::Ascending => number.checked_add(1),
            Self::Descending => number.checked_sub(1),
        }
    }

    fn previous(self, number: IdNumber) -> Option<IdNumber> {
        match self {
            Self::Ascending => number.checked_sub(1),
            Self::Descending => number.checked_add(1),
        }
    }
}

/// A sorted list of ids with a read-ahead buffer.
struct IdList {
    prefix: Bytes,
    direction: Direction,
    buffer: VecDeque<IdNumber>,
    /// Whether the list has no ids after the buffer.
    ended: bool,
    read_next: usize,
}

impl IdList {
    fn new(prefix: Bytes, direction: Direction) -> Self {
        Self { prefix, direction, buffer: VecDeque::new(), ended: false, read_next: READ_MIN }
    }

    /// Moves to the first id at or after `from`. Returns `true` if this needed a read. `from` never
    /// moves back.
    fn seek(&mut self, map: StoreReader<'_>, from: IdNumber) -> Result<bool, StorageFailure> {
        let had_ids = !self.buffer.is_empty();
        let mut advanced = false;
        while self.buffer.front().is_some_and(|first| self.direction.is_before(*first, from)) {
            advanced = self.buffer.pop_front().is_some();
        }
        if self.buffer.is_empty() && !self.ended {
            // Read little after a jump: the next jump may follow immediately.
            let is_consecutive = had_ids && advanced;
            self.read_next =
                if is_consecutive { (self.read_next * 2).min(READ_MAX) } else { READ_MIN };
            self.read(map, from)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Discards the buffer.
    fn discard(&mut self) {
        self.buffer.clear();
        self.ended = false;
    }

    fn read(&mut self, map: StoreReader<'_>, from: IdNumber) -> Result<(), StorageFailure> {
        let mut range = Range::prefix(self.prefix.clone());
        if self.direction == Direction::Descending {
            range = range.reversed();
        }
        // `after` excludes its key, and the read must include `from`.
        if let Some(previous) = self.direction.previous(from) {
            range = range.after(keys::indexed(&self.prefix, id(previous)));
        }
        let entries = map.scan(&range, self.read_next)?;
        self.ended = entries.len() < self.read_next;
        self.buffer.extend(entries.iter().filter_map(|(key, _)| keys::id(key)).map(number));
        Ok(())
    }
}

/// The union of several lists.
///
/// INVARIANT: evaluations move from a list to a later one, and never back. The buffer of each list
/// was read after the buffers of the lists before it. An evaluation that moves meanwhile is
/// therefore in one of the two lists.
pub(super) struct IdUnion {
    lists: Vec<IdList>,
    direction: Direction,
}

impl IdUnion {
    /// Returns the union of the lists of some states, live states first. `prefix` returns the
    /// prefix of a state's list.
    pub(super) fn of_states(
        states: &[RecordState],
        direction: Direction,
        prefix: impl Fn(RecordState) -> Bytes,
    ) -> Self {
        let mut states = states.to_vec();
        states.sort_unstable_by_key(|state| state.is_terminal());
        let mut lists: Vec<IdList> = Vec::new();
        for prefix in states.into_iter().map(prefix) {
            if lists.iter().all(|list| list.prefix != prefix) {
                lists.push(IdList::new(prefix, direction));
            }
        }
        Self { lists, direction }
    }

    /// Returns the first id at or after `from`.
    pub(super) fn seek(
        &mut self,
        map: StoreReader<'_>,
        from: IdNumber,
    ) -> Result<Option<IdNumber>, StorageFailure> {
        let mut first = None;
        let mut has_read = false;
        for list in &mut self.lists {
            if has_read {
                list.discard();
            }
            has_read |= list.seek(map, from)?;
            if let Some(number) = list.buffer.front().copied()
                && first.is_none_or(|first| self.direction.is_before(number, first))
            {
                first = Some(number);
            }
        }
        Ok(first)
    }
}
