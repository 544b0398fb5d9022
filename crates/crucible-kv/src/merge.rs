//! A backend's entries with writes laid over them.

use std::collections::VecDeque;
use std::iter::Peekable;

use bytes::Bytes;

use crate::{Backend, Batch, KvError, Range};

/// The entries of a range as they will be once two batches are written: `own` over `group` over the backend.
pub(crate) struct Merged<'a> {
    backend: Pages<'a>,
    own: Peekable<Writes<'a>>,
    group: Peekable<Writes<'a>>,
    range: Range,
}

type Writes<'a> = Box<dyn Iterator<Item = (&'a Bytes, Option<&'a Bytes>)> + 'a>;

impl<'a> Merged<'a> {
    pub(crate) fn new(
        backend: &'a dyn Backend,
        [own, group]: [&'a Batch; 2],
        range: &Range,
        limit: usize,
    ) -> Self {
        Self {
            backend: Pages {
                backend,
                rest: (!range.is_empty()).then(|| range.clone()),
                page: limit,
                entries: VecDeque::new(),
            },
            own: writes(own, range),
            group: writes(group, range),
            range: range.clone(),
        }
    }

    /// The entry of the next key, or that the key has none.
    fn next_key(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, KvError> {
        let first = |a: Option<Bytes>, b: Option<Bytes>| match (a, b) {
            (Some(a), Some(b)) => Some(if self.range.compare(&a, &b).is_le() { a } else { b }),
            (a, b) => a.or(b),
        };
        let stored = self.backend.peek()?.map(|(key, _)| key.clone());
        let own = self.own.peek().map(|(key, _)| (*key).clone());
        let group = self.group.peek().map(|(key, _)| (*key).clone());
        let Some(key) = first(first(own, group), stored) else { return Ok(None) };
        // All that are at this key go on; the topmost of them counts.
        let stored = self.backend.next_if(&key).map(Some);
        let group = self.group.next_if(|(at, _)| **at == key).map(|(_, value)| value.cloned());
        let own = self.own.next_if(|(at, _)| **at == key).map(|(_, value)| value.cloned());
        Ok(Some((key, own.or(group).or(stored).flatten())))
    }
}

impl Iterator for Merged<'_> {
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
    let writes: Writes<'a> = if range.is_reversed() { Box::new(writes.rev()) } else { Box::new(writes) };
    writes.peekable()
}

/// A backend's entries, read a page at a time: more than one only if the batches remove what was read.
struct Pages<'a> {
    backend: &'a dyn Backend,
    /// What was not read yet.
    rest: Option<Range>,
    page: usize,
    entries: VecDeque<(Bytes, Bytes)>,
}

impl Pages<'_> {
    fn peek(&mut self) -> Result<Option<&(Bytes, Bytes)>, KvError> {
        if self.entries.is_empty()
            && let Some(range) = self.rest.take()
        {
            let page = self.backend.scan(&range, self.page)?;
            if page.len() == self.page {
                self.rest = page.last().map(|(key, _)| range.after(key.clone()));
            }
            self.entries = page.into();
        }
        Ok(self.entries.front())
    }

    fn next_if(&mut self, key: &Bytes) -> Option<Bytes> {
        let at_key = self.entries.front().is_some_and(|(at, _)| at == key);
        at_key.then(|| self.entries.pop_front()).flatten().map(|(_, value)| value)
    }
}
