//! Key ranges of scans.

use std::cmp::Ordering;
use std::ops::Bound;

use bytes::Bytes;

/// A range of keys, in ascending order unless [reversed](Self::reversed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    start: Bound<Bytes>,
    end: Bound<Bytes>,
    reverse: bool,
}

impl Range {
    /// Returns the range of all keys.
    #[must_use]
    pub fn all() -> Self {
        Self::between(Bound::Unbounded, Bound::Unbounded)
    }

    /// Returns the range between two bounds. It is empty if the end is before the start.
    #[must_use]
    pub fn between(start: Bound<Bytes>, end: Bound<Bytes>) -> Self {
        Self { start, end, reverse: false }
    }

    /// Returns the range of all keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        let end = after_prefix(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self::between(Bound::Included(prefix), end)
    }

    /// Returns the same range in reverse order.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = !self.reverse;
        self
    }

    /// Returns the part of the range after `key`, in the order of this range. If `key` was the last
    /// key of a page, this is the next page. Call [`reversed`](Self::reversed) before this.
    #[must_use]
    pub fn after(mut self, key: impl Into<Bytes>) -> Self {
        let key = key.into();
        // A key outside the range must not widen it.
        if self.reverse {
            if is_before_end(&self.end, &key) {
                self.end = Bound::Excluded(key);
            }
        } else if is_after_start(&self.start, &key) {
            self.start = Bound::Excluded(key);
        }
        self
    }

    /// Returns the lower and the upper bound.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.start.as_ref().map(AsRef::as_ref), self.end.as_ref().map(AsRef::as_ref))
    }

    /// Returns `true` if the order is descending.
    #[must_use]
    pub fn is_reversed(&self) -> bool {
        self.reverse
    }

    /// Returns `true` if the range cannot contain a key. Many maps panic on such a range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) => start >= end,
        }
    }

    /// Returns `true` if the range contains a key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        std::ops::RangeBounds::<[u8]>::contains(&self.bounds(), key)
    }

    /// Compares two keys in the order of this range.
    pub(crate) fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if self.reverse { b.cmp(a) } else { a.cmp(b) }
    }
}

/// Returns `true` if `key` is at or above a lower bound.
fn is_after_start(start: &Bound<Bytes>, key: &Bytes) -> bool {
    match start {
        Bound::Unbounded => true,
        Bound::Included(start) | Bound::Excluded(start) => start <= key,
    }
}

/// Returns `true` if `key` is at or below an upper bound.
fn is_before_end(end: &Bound<Bytes>, key: &Bytes) -> bool {
    match end {
        Bound::Unbounded => true,
        Bound::Included(end) | Bound::Excluded(end) => end >= key,
    }
}

/// Returns the first key after all keys that begin with `prefix`; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let (last, before) = prefix.get(..=kept)?.split_last()?;
    let mut end = before.to_vec();
    end.push(last + 1);
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_contains_keys_that_begin_with_it() {
        let range = Range::prefix("ab");
        assert!(range.contains(b"ab") && range.contains(b"ab\xff\xff"));
        assert!(!range.contains(b"aa\xff") && !range.contains(b"ac") && !range.contains(b"a"));
        let range = Range::prefix(&b"a\xff"[..]);
        assert!(
            range.contains(b"a\xff") && range.contains(b"a\xff\xff\xff") && !range.contains(b"b")
        );
        let range = Range::prefix(&b"\xff\xff"[..]);
        assert!(range.contains(b"\xff\xff\xff") && !range.contains(b"\xff\xfe"));
        assert!(Range::prefix("").contains(b"\0"));
    }

    #[test]
    fn after_key_depends_on_order() {
        let up = Range::prefix("a").after("ab");
        assert!(
            !up.contains(b"aa") && !up.contains(b"ab") && up.contains(b"ac") && !up.contains(b"b")
        );
        let down = Range::prefix("a").reversed().after("ab");
        assert!(down.contains(b"aa") && !down.contains(b"ab") && !down.contains(b"ac"));
    }

    #[test]
    fn after_key_outside_range_does_not_widen_it() {
        assert_eq!(Range::prefix("b").after("a"), Range::prefix("b"));
        assert_eq!(Range::prefix("b").reversed().after("d"), Range::prefix("b").reversed());
        assert!(Range::prefix("b").after("d").is_empty());
        assert!(Range::prefix("b").reversed().after("a").is_empty());
    }

    #[test]
    fn range_with_end_before_start_is_empty() {
        let key = |key: &'static str| Bytes::from(key);
        assert!(!Range::between(Bound::Included(key("a")), Bound::Included(key("a"))).is_empty());
        assert!(Range::between(Bound::Excluded(key("a")), Bound::Excluded(key("a"))).is_empty());
        assert!(Range::between(Bound::Included(key("b")), Bound::Included(key("a"))).is_empty());
        assert!(!Range::all().is_empty());
    }
}
