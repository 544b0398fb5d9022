//! What is in a log: a batch, with its number and a seal.

use std::ops::Range;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::Batch;

/// Records begin at multiples of this, so that one after a damaged one is found without looking at every byte.
pub(super) const ALIGN: usize = 64;

/// Secret bytes of a store's own, which go into every seal: what a program has written, and a record keeps, must not pass for
/// a record itself where the one around it is torn.
pub(super) type Salt = [u8; 16];

const MAGIC: [u8; 4] = *b"crkv";

/// How many bytes of a hash make a seal.
const SEAL: usize = 8;

/// The magic, the payload's length, two numbers, the seal.
const HEADER: usize = MAGIC.len() + 4 + 8 + 8 + SEAL;

/// The length of a key and that of its value.
const LENGTHS: usize = 4 + 4;

/// In the place of a value's length: the key is removed.
const REMOVED: u32 = u32::MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Records are numbered one after the other.
    pub(super) number: u64,
    /// The last record that was known to be durable when this one was written.
    pub(super) durable: u64,
    pub(super) batch: Batch,
}

/// Writes a record behind what is in `out`, and says where in it the batch is. It fits if keys and values have the lengths that are
/// allowed.
pub(super) fn encode(
    number: u64,
    durable: u64,
    batch: &Batch,
    salt: &Salt,
    out: &mut Vec<u8>,
) -> Range<usize> {
    let start = out.len();
    out.reserve(HEADER + batch.bytes() + batch.len() * LENGTHS + ALIGN);
    out.resize(start + HEADER, 0);
    for (key, value) in batch {
        out.extend_from_slice(&length(key).to_le_bytes());
        out.extend_from_slice(&value.map_or(REMOVED, |value| length(value)).to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value.map_or(&[], |value| value));
    }
    let place = start + HEADER..out.len();
    let Some((header, payload)) =
        out.get_mut(start..).and_then(|record| record.split_at_mut_checked(HEADER))
    else {
        return place;
    };
    let numbers =
        [&length(payload).to_le_bytes()[..], &number.to_le_bytes(), &durable.to_le_bytes()]
            .concat();
    let seal = seal(&numbers, payload, salt);
    header.copy_from_slice(&[&MAGIC[..], &numbers, &seal].concat());
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    place
}

/// The record at the beginning of `bytes`, and how many of them it takes; `None` if there is none that is whole.
pub(super) fn decode(bytes: &[u8], salt: &Salt) -> Option<(Record, usize)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let numbers = header.strip_prefix(&MAGIC)?;
    let (numbers, found) = numbers.split_at_checked(HEADER - MAGIC.len() - SEAL)?;
    let (length, rest_of_numbers) = numbers.split_first_chunk::<4>()?;
    let (number, durable) = rest_of_numbers.split_first_chunk::<8>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    if seal(numbers, payload, salt) != *found {
        return None;
    }
    let mut batch = Batch::new();
    read(&Bytes::copy_from_slice(payload), &mut batch)?;
    let record = Record {
        number: u64::from_le_bytes(*number),
        durable: u64::from_le_bytes(durable.try_into().ok()?),
        batch,
    };
    Some((record, (HEADER + payload.len()).next_multiple_of(ALIGN)))
}

/// Makes the writes of a record's batch in another one, of which the keys and values are parts of the record then. `None` if it is not
/// what [`encode`] wrote.
pub(super) fn read(batch: &Bytes, into: &mut Batch) -> Option<()> {
    let mut at = 0;
    let number = |at: usize| Some(u32::from_le_bytes(*batch.get(at..)?.first_chunk()?));
    let part = |at: usize, length: u32| {
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        (end <= batch.len()).then(|| (batch.slice(at..end), end))
    };
    while at < batch.len() {
        let (key_length, value_length) = (number(at)?, number(at + 4)?);
        let (key, key_end) = part(at + LENGTHS, key_length)?;
        at = key_end;
        match value_length {
            REMOVED => into.delete(key),
            length => {
                let (value, value_end) = part(at, length)?;
                into.put(key, value);
                at = value_end;
            }
        }
    }
    Some(())
}

fn length(bytes: &[u8]) -> u32 {
    // Longer ones are refused long before.
    u32::try_from(bytes.len()).unwrap_or(REMOVED)
}

fn seal(numbers: &[u8], payload: &[u8], salt: &Salt) -> [u8; SEAL] {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(numbers);
    hash.update(payload);
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = [7; 16];

    fn sample() -> (Record, Vec<u8>) {
        let mut batch = Batch::new();
        batch.put("a", "value");
        batch.put("b", "");
        batch.delete("c");
        let mut bytes = Vec::new();
        encode(9, 8, &batch, &SALT, &mut bytes);
        (Record { number: 9, durable: 8, batch }, bytes)
    }

    #[test]
    fn a_record_comes_back() {
        let (record, mut bytes) = sample();
        let length = bytes.len();
        assert_eq!(length % ALIGN, 0);
        encode(10, 9, &Batch::new(), &SALT, &mut bytes);
        assert_eq!(decode(&bytes, &SALT), Some((record, length)));
        let (next, _) = decode(&bytes[length..], &SALT).unwrap();
        assert_eq!(next, Record { number: 10, durable: 9, batch: Batch::new() });
    }

    #[test]
    fn a_record_of_another_store_a_torn_or_a_changed_one_is_none() {
        let (_, bytes) = sample();
        assert_eq!(decode(&bytes, &[8; 16]), None);
        let (header, payload) = (HEADER, 4 * 6 + 3 + 5);
        for at in 0..header + payload {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed, &SALT), None, "byte {at}");
            assert_eq!(decode(&bytes[..at], &SALT), None, "the first {at} bytes");
            let torn = [&bytes[..at], &vec![0; bytes.len() - at]].concat();
            assert!(
                decode(&torn, &SALT).is_none() || bytes[at..].iter().all(|byte| *byte == 0),
                "cut at {at}"
            );
        }
        assert_eq!(decode(&[0; 4096], &SALT), None);
    }
}
