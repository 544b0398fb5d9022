//! Stored entries with writes laid over them.

use std::collections::VecDeque;
use std::iter::Peekable;

use bytes::Bytes;

use crate::{Batch, KvError, Range};

/// The entries of a range as they will be once two batches are written: the upper over the lower over what is stored.
pub(crate) struct Merged<'a, S> {
    stored: Pages<S>,
    upper: Peekable<Writes<'a>>,
    lower: Peekable<Writes<'a>>,
    range: Range,
}

/// How many entries are read at once beyond what was asked for.
const PAGE_MAX: usize = 1024;

pub(crate) type Entries = Vec<(Bytes, Bytes)>;

type Writes<'a> = Box<dyn Iterator<Item = (&'a Bytes, Option<&'a Bytes>)> + 'a>;

impl<'a, S: FnMut(&Range, usize) -> Result<Entries, KvError>> Merged<'a, S> {
    /// Reads what is stored by `scan`, the first `limit` entries of a range at a time.
    pub(crate) fn new(
        scan: S,
        [upper, lower]: [&'a Batch; 2],
        range: &Range,
        limit: usize,
    ) -> Self {
        Self {
            stored: Pages {
                scan,
                rest: (!range.is_empty()).then(|| range.clone()),
                page: limit,
                entries: VecDeque::new(),
            },
            upper: writes(upper, range),
            lower: writes(lower, range),
            range: range.clone(),
        }
    }

    /// The entry of the next key, or that the key has none.
    fn next_key(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, KvError> {
        let first = |a: Option<Bytes>, b: Option<Bytes>| match (a, b) {
            (Some(a), Some(b)) => Some(if self.range.compare(&a, &b).is_le() { a } else { b }),
            (a, b) => a.or(b),
        };
        let stored = self.stored.peek()?.map(|(key, _)| key.clone());
        let upper = self.upper.peek().map(|(key, _)| (*key).clone());
        let lower = self.lower.peek().map(|(key, _)| (*key).clone());
        let Some(key) = first(first(upper, lower), stored) else { return Ok(None) };
        // All that are at this key go on; the topmost of them counts.
        let stored = self.stored.next_if(&key).map(Some);
        let lower = self.lower.next_if(|(at, _)| **at == key).map(|(_, value)| value.cloned());
        let upper = self.upper.next_if(|(at, _)| **at == key).map(|(_, value)| value.cloned());
        Ok(Some((key, upper.or(lower).or(stored).flatten())))
    }
}

impl<S: FnMut(&Range, usize) -> Result<Entries, KvError>> Iterator for Merged<'_, S> {
    type Item = Result<(Bytes, Bytes), KvError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_key() {
                Ok(Some((key, Some(value)))) => return Some(Ok((key, value))),
                Ok(Some((_, None))) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn writes<'a>(batch: &'a Batch, range: &Range) -> Peekable<Writes<'a>> {
    let writes = batch.within(range);
    let writes: Writes<'a> =
        if range.is_reversed() { Box::new(writes.rev()) } else { Box::new(writes) };
    writes.peekable()
}

/// Stored entries, read a page at a time: more than one only if the batches remove what was read.
struct Pages<S> {
    scan: S,
    /// What was not read yet.
    rest: Option<Range>,
    page: usize,
    entries: VecDeque<(Bytes, Bytes)>,
}

impl<S: FnMut(&Range, usize) -> Result<Entries, KvError>> Pages<S> {
    fn peek(&mut self) -> Result<Option<&(Bytes, Bytes)>, KvError> {
        if self.entries.is_empty()
            && let Some(range) = self.rest.take()
        {
            let page = (self.scan)(&range, self.page)?;
            if page.len() == self.page {
                self.rest = page.last().map(|(key, _)| range.after(key.clone()));
            }
            // Where the first ones were removed, the next ones may have been as well.
            self.page = self.page.saturating_mul(2).min(PAGE_MAX.max(self.page));
            self.entries = page.into();
        }
        Ok(self.entries.front())
    }

    fn next_if(&mut self, key: &Bytes) -> Option<Bytes> {
        let at_key = self.entries.front().is_some_and(|(at, _)| at == key);
        at_key.then(|| self.entries.pop_front()).flatten().map(|(_, value)| value)
    }
}
