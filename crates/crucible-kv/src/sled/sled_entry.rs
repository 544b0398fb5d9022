//! The encoding of entries in sled's tree, with large values in chunks.

use std::ops::Bound;

use crate::Range;

/// The length of a chunk.
///
/// sled stores a page of more than 128 KiB, a quarter of a segment, in a file of its own.
/// It does not release the space of such files. If it cannot write one, it waits forever for the
/// part of its log that refers to it. A page has up to 18 entries, so chunks of this length and
/// keys below 1 KiB avoid such pages.
const CHUNK: usize = 6 * 1024;

/// The first byte of the keys of entries.
const DATA: u8 = b'd';

/// The first byte of the keys of chunks.
const CHUNK_KEY: u8 = b'p';

/// The first byte of an entry that contains its value.
const WHOLE: u8 = 0;

/// The first byte of an entry whose value is in chunks. The number of chunks follows.
const CHUNKS: u8 = 1;

/// The stored form of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SledEntry<'a> {
    /// The value.
    Whole(&'a [u8]),
    /// The number of chunks.
    Chunks(u32),
}

impl SledEntry<'_> {
    /// Decodes an entry. Returns `None` if it is invalid.
    pub(super) fn parse(stored: &[u8]) -> Option<SledEntry<'_>> {
        match stored.split_first()? {
            (&WHOLE, value) => Some(SledEntry::Whole(value)),
            (&CHUNKS, count) => Some(SledEntry::Chunks(u32::from_be_bytes(count.try_into().ok()?))),
            _ => None,
        }
    }

    /// Returns the encoded entry of a value, and its chunks.
    pub(super) fn of(value: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
        if value.len() <= CHUNK {
            return ([&[WHOLE], value].concat(), Vec::new());
        }
        let chunks: Vec<_> = value.chunks(CHUNK).collect();
        // A value has at most `VALUE_MAX` bytes, which is fewer than 700 chunks.
        let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        ([&[CHUNKS][..], &count.to_be_bytes()].concat(), chunks)
    }

    /// Returns the number of chunks beside the entry.
    pub(super) fn chunks(self) -> u32 {
        match self {
            Self::Whole(_) => 0,
            Self::Chunks(count) => count,
        }
    }
}

/// Returns the key of an entry in sled's tree.
pub(super) fn data_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

/// Returns the key of a chunk in sled's tree. The fixed length of the index makes it unique.
pub(super) fn chunk_key(key: &[u8], index: u32) -> Vec<u8> {
    [&[CHUNK_KEY], key, &index.to_be_bytes()].concat()
}

/// Returns the key of an entry without sled's prefix.
pub(super) fn logical_key(data_key: &[u8]) -> &[u8] {
    data_key.get(1..).unwrap_or_default()
}

/// Returns a range of entries as a range in sled's tree.
pub(super) fn data_range(range: &Range) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let (start, end) = range.bounds();
    let start = match start.map(data_key) {
        Bound::Unbounded => Bound::Included(vec![DATA]),
        start => start,
    };
    let end = match end.map(data_key) {
        Bound::Unbounded => Bound::Excluded(vec![DATA + 1]),
        end => end,
    };
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_above_chunk_length_is_split() {
        for (length, count_expected) in
            [(0, 0), (CHUNK, 0), (CHUNK + 1, 2), (2 * CHUNK, 2), (2 * CHUNK + 1, 3)]
        {
            let value = vec![7; length];
            let (entry, chunks) = SledEntry::of(&value);
            assert_eq!(chunks.len(), count_expected, "{length} bytes");
            match SledEntry::parse(&entry).unwrap() {
                SledEntry::Whole(whole) => assert_eq!(whole, value),
                SledEntry::Chunks(count) => {
                    assert_eq!(count as usize, count_expected);
                    assert_eq!(chunks.concat(), value);
                }
            }
        }
        assert_eq!(SledEntry::parse(b""), None);
        assert_eq!(SledEntry::parse(b"\x01\0\0"), None);
        assert_eq!(SledEntry::parse(b"\x02"), None);
    }
}
