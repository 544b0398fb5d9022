//! Which keys a scan gives, and in which order.

use std::cmp::Ordering;
use std::ops::Bound;

use bytes::Bytes;

/// Keys from a first to a last one, ascending unless [reversed](Self::reversed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    start: Bound<Bytes>,
    end: Bound<Bytes>,
    reverse: bool,
}

impl Range {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self::between(Bound::Unbounded, Bound::Unbounded)
    }

    /// The keys between two bounds. A range whose end is before its start is empty.
    #[must_use]
    pub fn between(start: Bound<Bytes>, end: Bound<Bytes>) -> Self {
        Self { start, end, reverse: false }
    }

    /// The keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        let end = after_prefix(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self::between(Bound::Included(prefix), end)
    }

    /// The same keys, the other way round.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = !self.reverse;
        self
    }

    /// What comes after `key` in the order of this range: the next page, if `key` was the last of one. Reverse the range
    /// first.
    #[must_use]
    pub fn after(mut self, key: impl Into<Bytes>) -> Self {
        let key = key.into();
        // A key outside of the range must not widen it.
        if self.reverse {
            if above(&self.end, &key) {
                self.end = Bound::Excluded(key);
            }
        } else if below(&self.start, &key) {
            self.start = Bound::Excluded(key);
        }
        self
    }

    /// The lower and the upper bound.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.start.as_ref().map(AsRef::as_ref), self.end.as_ref().map(AsRef::as_ref))
    }

    /// Whether the keys come in descending order.
    #[must_use]
    pub fn is_reversed(&self) -> bool {
        self.reverse
    }

    /// Whether no key can be in it. Many maps panic when they are asked for such a range.
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

    /// Whether a key is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        std::ops::RangeBounds::<[u8]>::contains(&self.bounds(), key)
    }

    /// How two keys follow one another in the order of this range.
    pub(crate) fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if self.reverse { b.cmp(a) } else { a.cmp(b) }
    }
}

/// Whether `key` is at or above a lower bound.
fn below(start: &Bound<Bytes>, key: &Bytes) -> bool {
    match start {
        Bound::Unbounded => true,
        Bound::Included(start) | Bound::Excluded(start) => start <= key,
    }
}

/// Whether `key` is at or below an upper bound.
fn above(end: &Bound<Bytes>, key: &Bytes) -> bool {
    match end {
        Bound::Unbounded => true,
        Bound::Included(end) | Bound::Excluded(end) => end >= key,
    }
}

/// The first key after all that begin with `prefix`; `None` if there is no key after them.
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
    fn a_prefix_contains_what_begins_with_it() {
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
    fn what_comes_after_a_key_depends_on_the_order() {
        let up = Range::prefix("a").after("ab");
        assert!(
            !up.contains(b"aa") && !up.contains(b"ab") && up.contains(b"ac") && !up.contains(b"b")
        );
        let down = Range::prefix("a").reversed().after("ab");
        assert!(down.contains(b"aa") && !down.contains(b"ab") && !down.contains(b"ac"));
    }

    #[test]
    fn a_key_outside_does_not_widen_a_range() {
        assert_eq!(Range::prefix("b").after("a"), Range::prefix("b"));
        assert_eq!(Range::prefix("b").reversed().after("d"), Range::prefix("b").reversed());
        assert!(Range::prefix("b").after("d").is_empty());
        assert!(Range::prefix("b").reversed().after("a").is_empty());
    }

    #[test]
    fn an_empty_range_is_known() {
        let key = |key: &'static str| Bytes::from(key);
        assert!(!Range::between(Bound::Included(key("a")), Bound::Included(key("a"))).is_empty());
        assert!(Range::between(Bound::Excluded(key("a")), Bound::Excluded(key("a"))).is_empty());
        assert!(Range::between(Bound::Included(key("b")), Bound::Included(key("a"))).is_empty());
        assert!(!Range::all().is_empty());
    }
}
