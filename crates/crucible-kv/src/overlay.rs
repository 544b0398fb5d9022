//! Stored entries overlaid with pending writes.

use std::collections::VecDeque;
use std::iter::Peekable;

use bytes::Bytes;

use crate::{Batch, KvError, Range};

/// The entries of a range as they will be after two batches are written: the upper batch over the
/// lower batch over the stored entries.
pub(crate) struct Overlay<'a, S> {
    stored: StoredPages<S>,
    upper: Peekable<Writes<'a>>,
    lower: Peekable<Writes<'a>>,
    range: Range,
}

/// The maximum page size, unless the caller's own limit is larger.
const PAGE_MAX: usize = 1024;

pub(crate) type Entries = Vec<(Bytes, Bytes)>;

type Writes<'a> = Box<dyn Iterator<Item = (&'a Bytes, Option<&'a Bytes>)> + 'a>;

impl<'a, S: FnMut(&Range, usize) -> Result<Entries, KvError>> Overlay<'a, S> {
    /// Creates an overlay. `scan` reads stored entries, the first `limit` of a range at a time.
    pub(crate) fn new(
        scan: S,
        [upper, lower]: [&'a Batch; 2],
        range: &Range,
        limit: usize,
    ) -> Self {
        Self {
            stored: StoredPages {
                scan,
                rest: (!range.is_empty()).then(|| range.clone()),
                page_size: limit,
                entries: VecDeque::new(),
            },
            upper: writes(upper, range),
            lower: writes(lower, range),
            range: range.clone(),
        }
    }

    /// Returns the next key and its value; the value is `None` if a batch removes the key.
    fn next_key(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, KvError> {
        let first = |a: Option<Bytes>, b: Option<Bytes>| match (a, b) {
            (Some(a), Some(b)) => Some(if self.range.compare(&a, &b).is_le() { a } else { b }),
            (a, b) => a.or(b),
        };
        let stored = self.stored.peek()?.map(|(key, _)| key.clone());
        let upper = self.upper.peek().map(|(key, _)| (*key).clone());
        let lower = self.lower.peek().map(|(key, _)| (*key).clone());
        let Some(key) = first(first(upper, lower), stored) else { return Ok(None) };
        // Advance every source that is at this key. The topmost source wins.
        let stored = self.stored.next_if(&key).map(Some);
        let lower = self.lower.next_if(|(at, _)| **at == key).map(|(_, value)| value.cloned());
        let upper = self.upper.next_if(|(at, _)| **at == key).map(|(_, value)| value.cloned());
        Ok(Some((key, upper.or(lower).or(stored).flatten())))
    }
}

impl<S: FnMut(&Range, usize) -> Result<Entries, KvError>> Iterator for Overlay<'_, S> {
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

/// Returns the writes of a batch within a range, in the order of the range.
fn writes<'a>(batch: &'a Batch, range: &Range) -> Peekable<Writes<'a>> {
    let writes = batch.within(range);
    let writes: Writes<'a> =
        if range.is_reversed() { Box::new(writes.rev()) } else { Box::new(writes) };
    writes.peekable()
}

/// Stored entries, read page by page. A second page is needed only if the batches remove entries of
/// the first one.
struct StoredPages<S> {
    scan: S,
    /// The range that has not been read yet.
    rest: Option<Range>,
    page_size: usize,
    entries: VecDeque<(Bytes, Bytes)>,
}

impl<S: FnMut(&Range, usize) -> Result<Entries, KvError>> StoredPages<S> {
    /// Returns the next stored entry without consuming it.
    fn peek(&mut self) -> Result<Option<&(Bytes, Bytes)>, KvError> {
        if self.entries.is_empty()
            && let Some(range) = self.rest.take()
        {
            let page = (self.scan)(&range, self.page_size)?;
            if page.len() == self.page_size {
                self.rest = page.last().map(|(key, _)| range.after(key.clone()));
            }
            // If the batches remove the first entries, they may remove the next ones as well.
            self.page_size = self.page_size.saturating_mul(2).min(PAGE_MAX.max(self.page_size));
            self.entries = page.into();
        }
        Ok(self.entries.front())
    }

    /// Consumes the next stored entry if it is at `key`, and returns its value.
    fn next_if(&mut self, key: &Bytes) -> Option<Bytes> {
        let at_key = self.entries.front().is_some_and(|(at, _)| at == key);
        at_key.then(|| self.entries.pop_front()).flatten().map(|(_, value)| value)
    }
}
