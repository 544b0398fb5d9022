//! Writes that are committed together.

use std::collections::BTreeMap;
use std::collections::btree_map;

use bytes::Bytes;

use crate::Range;

/// Puts and deletes, ordered by key. The last write of a key replaces earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<Bytes, Option<Bytes>>,
    /// The total length of keys and values in `writes`, so that `bytes` takes constant time.
    bytes: usize,
}

impl Batch {
    /// Creates an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.write(key.into(), Some(value.into()));
    }

    /// Removes a key. The key does not have to exist.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.write(key.into(), None);
    }

    /// Appends the writes of `later`.
    pub fn merge(&mut self, later: Self) {
        if self.writes.is_empty() {
            *self = later;
            return;
        }
        for (key, value) in later.writes {
            self.write(key, value);
        }
    }

    /// Returns the write of a key: `Some(None)` if the batch removes the key, `None` if the batch
    /// does not contain it.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.writes.get(key).map(Option::as_ref)
    }

    /// Returns the writes in key order. The value `None` removes a key.
    #[must_use]
    pub fn iter(&self) -> BatchIter<'_> {
        BatchIter(self.writes.iter())
    }

    /// Returns the writes whose keys are in a range, in ascending key order.
    pub(crate) fn within(
        &self,
        range: &Range,
    ) -> impl DoubleEndedIterator<Item = (&Bytes, Option<&Bytes>)> + use<'_> {
        let bounds = (!range.is_empty()).then(|| range.bounds());
        bounds
            .map(|bounds| self.writes.range::<[u8], _>(bounds))
            .into_iter()
            .flatten()
            .map(|(key, value)| (key, value.as_ref()))
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Returns `true` if the batch contains no writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Returns the total length of all keys and values, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        let length = key.len();
        self.bytes += length + value.as_ref().map_or(0, Bytes::len);
        if let Some(replaced) = self.writes.insert(key, value) {
            self.bytes -= length + replaced.map_or(0, |value| value.len());
        }
    }
}

/// An iterator over the writes of a [`Batch`] in key order.
#[derive(Clone, Debug)]
pub struct BatchIter<'a>(btree_map::Iter<'a, Bytes, Option<Bytes>>);

impl<'a> Iterator for BatchIter<'a> {
    type Item = (&'a Bytes, Option<&'a Bytes>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, value.as_ref()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for BatchIter<'_> {}

impl<'a> IntoIterator for &'a Batch {
    type Item = (&'a Bytes, Option<&'a Bytes>);
    type IntoIter = BatchIter<'a>;

    fn into_iter(self) -> BatchIter<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn put_of_existing_key_replaces_value_and_bytes() {
        let mut batch = Batch::new();
        batch.put("a", "12345");
        batch.put("b", "1");
        batch.delete("a");
        batch.put("b", "22");
        assert_eq!((batch.len(), batch.bytes()), (2, 4));
        assert_eq!(batch.get(b"a"), Some(None));
        assert_eq!(batch.get(b"b"), Some(Some(&Bytes::from("22"))));
        assert_eq!(batch.get(b"c"), None);
    }

    #[test]
    fn merge_applies_later_writes_last() {
        let (mut first, mut second) = (Batch::new(), Batch::new());
        first.put("a", "1");
        first.put("b", "1");
        second.delete("a");
        second.put("c", "333");
        first.merge(second);
        let expected = [("a", None), ("b", Some("1")), ("c", Some("333"))];
        let writes: Vec<_> =
            first.iter().map(|(key, value)| (key.clone(), value.cloned())).collect();
        assert_eq!(writes, expected.map(|(key, value)| (Bytes::from(key), value.map(Bytes::from))));
        assert_eq!(first.bytes(), 7);
    }

    #[test]
    fn within_range_returns_contained_keys() {
        let mut batch = Batch::new();
        for key in ["a", "ab", "b", "c"] {
            batch.put(key, "");
        }
        let keys =
            |range: &Range| -> Vec<_> { batch.within(range).map(|(key, _)| key.clone()).collect() };
        assert_eq!(keys(&Range::prefix("a")), ["a", "ab"]);
        assert_eq!(keys(&Range::all().after("ab")), ["b", "c"]);
        assert_eq!(keys(&Range::prefix("a").after("b")), [""; 0]);
    }
}
