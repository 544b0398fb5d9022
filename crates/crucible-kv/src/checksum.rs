//! Values with a checksum.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// The length of the truncated SHA-256 in front of the content. Eight bytes miss a random change
/// once in 2^64.
const CHECKSUM_BYTES: usize = 8;

/// Returns a value that consists of a checksum over key and content, and the content.
///
/// Not every backend detects a changed byte, and a backend that does may report more than the one
/// value as corrupt. The key is part of the checksum, so a value under a wrong key is detected too.
#[must_use]
pub fn add_checksum(key: &[u8], content: &[u8]) -> Bytes {
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + content.len());
    value.extend_from_slice(&checksum(key, content));
    value.extend_from_slice(content);
    value.into()
}

/// Returns the same value as [`add_checksum`] for content that `write` appends to a vector, which
/// saves a copy. `capacity` is the expected length of the content.
///
/// # Errors
/// Returns the error of `write`.
pub fn write_with_checksum<E>(
    key: &[u8],
    capacity: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + capacity);
    value.resize(CHECKSUM_BYTES, 0);
    write(&mut value)?;
    if let Some((prefix, content)) = value.split_first_chunk_mut::<CHECKSUM_BYTES>() {
        *prefix = checksum(key, content);
    }
    Ok(value.into())
}

/// Returns the content of a value that [`add_checksum`] created for this key; `None` if the
/// checksum does not match.
#[must_use]
pub fn verify_checksum(key: &[u8], value: &Bytes) -> Option<Bytes> {
    let (prefix, content) = value.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*prefix == checksum(key, content)).then(|| value.slice(CHECKSUM_BYTES..))
}

/// Returns the truncated SHA-256 over key and content.
fn checksum(key: &[u8], content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    // The length marks the end of the key.
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update(content);
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_verifies_for_its_own_key_only() {
        let value = add_checksum(b"key", b"content");
        assert_eq!(verify_checksum(b"key", &value).unwrap(), "content");
        assert_eq!(verify_checksum(b"ke", &value), None);
        assert_eq!(verify_checksum(b"", &add_checksum(b"", b"")).unwrap(), "");
    }

    #[test]
    fn written_value_equals_added_checksum() {
        let write = |value: &mut Vec<u8>| {
            value.extend_from_slice(b"content");
            Ok::<_, ()>(())
        };
        let written = write_with_checksum(b"key", 0, write).unwrap();
        assert_eq!(written, add_checksum(b"key", b"content"));
        assert_eq!(write_with_checksum(b"key", 9, |_| Err(7)), Err(7));
    }

    #[test]
    fn changed_byte_or_length_fails_verification() {
        let value = add_checksum(b"key", b"content");
        for index in 0..value.len() {
            let mut changed = value.to_vec();
            changed[index] ^= 1;
            assert_eq!(verify_checksum(b"key", &changed.into()), None);
            assert_eq!(verify_checksum(b"key", &value.slice(..index)), None);
        }
    }
}
