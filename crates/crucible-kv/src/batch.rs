//! Writes that are made together.

use std::collections::BTreeMap;
use std::collections::btree_map;

use bytes::Bytes;

use crate::Range;

/// Puts and deletes, ordered by key. Of two with the same key the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<Bytes, Option<Bytes>>,
    /// The sum over `writes`, kept so that a group can be bounded without counting again.
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a key a value.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.write(key.into(), Some(value.into()));
    }

    /// Removes a key. It need not be there.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.write(key.into(), None);
    }

    /// Makes these writes and then those of `later`.
    pub fn merge(&mut self, later: Self) {
        if self.writes.is_empty() {
            *self = later;
            return;
        }
        for (key, value) in later.writes {
            self.write(key, value);
        }
    }

    /// What the batch makes of a key: `Some(None)` if it removes it, `None` if it leaves it alone.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.writes.get(key).map(Option::as_ref)
    }

    /// The writes in the order of their keys; `None` removes a key.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.writes.iter())
    }

    /// The writes whose keys are in a range, by ascending keys.
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

    /// How many keys are written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many bytes the keys and values have.
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

/// The writes of a [`Batch`] in the order of their keys.
#[derive(Clone, Debug)]
pub struct Iter<'a>(btree_map::Iter<'a, Bytes, Option<Bytes>>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Bytes, Option<&'a Bytes>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, value.as_ref()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Batch {
    type Item = (&'a Bytes, Option<&'a Bytes>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_of_a_key_counts_and_its_bytes_alone() {
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
    fn merging_makes_the_later_writes_last() {
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
    fn a_range_of_a_batch_is_what_the_range_contains() {
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
