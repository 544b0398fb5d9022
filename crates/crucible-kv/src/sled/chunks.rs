//! Where entries are in sled's tree: large values in pieces.

use std::ops::Bound;

use crate::Range;

/// sled keeps a page of more than a quarter of a segment, which is 128 KiB, in a file of its own. It does not give back the space
/// of such files, and once one cannot be written, it waits without end for the part of its log that names it. A page has up to
/// 18 entries, so that with pieces of this length, and keys below 1 KiB, there are none.
const CHUNK: usize = 6 * 1024;

/// Begins the keys of entries.
const DATA: u8 = b'd';

/// Begins the keys of pieces.
const PIECE: u8 = b'p';

/// Begins an entry that has its whole value.
const WHOLE: u8 = 0;

/// Begins an entry whose value is in pieces; how many they are follows.
const CHUNKS: u8 = 1;

/// What is under the key of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Whole(&'a [u8]),
    Chunks(u32),
}

impl Entry<'_> {
    pub(super) fn parse(stored: &[u8]) -> Option<Entry<'_>> {
        match stored.split_first()? {
            (&WHOLE, value) => Some(Entry::Whole(value)),
            (&CHUNKS, count) => Some(Entry::Chunks(u32::from_be_bytes(count.try_into().ok()?))),
            _ => None,
        }
    }

    /// What is to be stored under the key of an entry, and its pieces.
    pub(super) fn of(value: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
        if value.len() <= CHUNK {
            return ([&[WHOLE], value].concat(), Vec::new());
        }
        let chunks: Vec<_> = value.chunks(CHUNK).collect();
        // A value has at most `VALUE_MAX` bytes, so that these are some hundreds.
        let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        ([&[CHUNKS][..], &count.to_be_bytes()].concat(), chunks)
    }

    /// How many pieces it has besides.
    pub(super) fn chunks(self) -> u32 {
        match self {
            Self::Whole(_) => 0,
            Self::Chunks(count) => count,
        }
    }
}

pub(super) fn data_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

/// No other key's piece has this key, since the number at the end has always the same length.
pub(super) fn chunk_key(key: &[u8], index: u32) -> Vec<u8> {
    [&[PIECE], key, &index.to_be_bytes()].concat()
}

/// The key of an entry, from sled's.
pub(super) fn logical_key(data_key: &[u8]) -> &[u8] {
    data_key.get(1..).unwrap_or_default()
}

/// A range in sled's keys.
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
    fn a_value_is_whole_up_to_a_length_and_in_pieces_beyond() {
        for (length, pieces) in
            [(0, 0), (CHUNK, 0), (CHUNK + 1, 2), (2 * CHUNK, 2), (2 * CHUNK + 1, 3)]
        {
            let value = vec![7; length];
            let (entry, chunks) = Entry::of(&value);
            assert_eq!(chunks.len(), pieces, "{length} bytes");
            match Entry::parse(&entry).unwrap() {
                Entry::Whole(whole) => assert_eq!(whole, value),
                Entry::Chunks(count) => {
                    assert_eq!(count as usize, pieces);
                    assert_eq!(chunks.concat(), value);
                }
            }
        }
        assert_eq!(Entry::parse(b""), None);
        assert_eq!(Entry::parse(b"\x01\0\0"), None);
        assert_eq!(Entry::parse(b"\x02"), None);
    }
}
