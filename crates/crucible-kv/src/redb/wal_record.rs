//! A record of the log: a batch with its number and a checksum.

use std::ops::Range;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::Batch;

/// The alignment of records. It lets a reader find the record after a corrupt one without
/// checking every byte.
pub(super) const ALIGN: usize = 64;

/// Random bytes of a store, which are part of every checksum.
///
/// Stored values contain bytes of untrusted programs. Without the salt, a program could write bytes
/// that look like a record, and a torn record around them would expose them to replay.
pub(super) type Salt = [u8; 16];

const MAGIC: [u8; 4] = *b"crkv";

/// The length of the truncated SHA-256.
const CHECKSUM_BYTES: usize = 8;

/// The header: magic, payload length, record number, durable record number, checksum.
const HEADER: usize = MAGIC.len() + 4 + 8 + 8 + CHECKSUM_BYTES;

/// The lengths of a key and its value.
const LENGTHS: usize = 4 + 4;

/// The value length that marks a removed key.
const REMOVED: u32 = u32::MAX;

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WalRecord {
    /// The consecutive number of the record.
    pub(super) number: u64,
    /// The number of the last durable record when this one was written.
    pub(super) durable: u64,
    pub(super) batch: Batch,
}

/// Appends a record to `out`, and returns the position of the encoded batch. Lengths of keys and
/// values must be within the limits of [`crate::KEY_MAX`] and [`crate::VALUE_MAX`].
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
    let encoded = start + HEADER..out.len();
    let Some((header, payload)) =
        out.get_mut(start..).and_then(|record| record.split_at_mut_checked(HEADER))
    else {
        return encoded;
    };
    let numbers =
        [&length(payload).to_le_bytes()[..], &number.to_le_bytes(), &durable.to_le_bytes()]
            .concat();
    let checksum = checksum(&numbers, payload, salt);
    header.copy_from_slice(&[&MAGIC[..], &numbers, &checksum].concat());
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    encoded
}

/// Returns the record at the start of `bytes` and its length; `None` if there is no complete
/// record.
pub(super) fn decode(bytes: &[u8], salt: &Salt) -> Option<(WalRecord, usize)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let numbers = header.strip_prefix(&MAGIC)?;
    let (numbers, found) = numbers.split_at_checked(HEADER - MAGIC.len() - CHECKSUM_BYTES)?;
    let (length, rest_of_numbers) = numbers.split_first_chunk::<4>()?;
    let (number, durable) = rest_of_numbers.split_first_chunk::<8>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    if checksum(numbers, payload, salt) != *found {
        return None;
    }
    let mut batch = Batch::new();
    decode_batch(&Bytes::copy_from_slice(payload), &mut batch)?;
    let record = WalRecord {
        number: u64::from_le_bytes(*number),
        durable: u64::from_le_bytes(durable.try_into().ok()?),
        batch,
    };
    Some((record, (HEADER + payload.len()).next_multiple_of(ALIGN)))
}

/// Appends the writes of an encoded batch to `into`. Keys and values share the memory of `batch`.
/// Returns `None` if the bytes are not an encoded batch.
pub(super) fn decode_batch(batch: &Bytes, into: &mut Batch) -> Option<()> {
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

/// Returns the length of a key, a value or a payload.
fn length(bytes: &[u8]) -> u32 {
    // `Transaction` refuses longer keys and values.
    u32::try_from(bytes.len()).unwrap_or(REMOVED)
}

/// Returns the truncated SHA-256 over salt, numbers and payload.
fn checksum(numbers: &[u8], payload: &[u8], salt: &Salt) -> [u8; CHECKSUM_BYTES] {
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

    fn sample() -> (WalRecord, Vec<u8>) {
        let mut batch = Batch::new();
        batch.put("a", "value");
        batch.put("b", "");
        batch.delete("c");
        let mut bytes = Vec::new();
        encode(9, 8, &batch, &SALT, &mut bytes);
        (WalRecord { number: 9, durable: 8, batch }, bytes)
    }

    #[test]
    fn encoded_record_decodes_to_itself() {
        let (record, mut bytes) = sample();
        let length = bytes.len();
        assert_eq!(length % ALIGN, 0);
        encode(10, 9, &Batch::new(), &SALT, &mut bytes);
        assert_eq!(decode(&bytes, &SALT), Some((record, length)));
        let (next, _) = decode(&bytes[length..], &SALT).unwrap();
        assert_eq!(next, WalRecord { number: 10, durable: 9, batch: Batch::new() });
    }

    #[test]
    fn foreign_torn_or_changed_record_is_rejected() {
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
