//! Values that say whether they are what was written.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// How many bytes of the hash stand before the content: damage by chance is as good as never overlooked.
const SEAL: usize = 8;

/// A value for a key that says whether it is what was written, and written for this key. Not every backend notices when a
/// byte of it has changed, and those that do may hold more than the one value for damaged.
#[must_use]
pub fn seal(key: &[u8], content: &[u8]) -> Bytes {
    let mut value = Vec::with_capacity(SEAL + content.len());
    value.extend_from_slice(&seal_of(key, content));
    value.extend_from_slice(content);
    value.into()
}

/// Like [`seal`], for content that `write` puts behind what is in a vector: so it is not copied. About so much room is made for it.
///
/// # Errors
/// Those of `write`.
pub fn seal_written<E>(
    key: &[u8],
    room: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut value = Vec::with_capacity(SEAL + room);
    value.resize(SEAL, 0);
    write(&mut value)?;
    if let Some((seal, content)) = value.split_first_chunk_mut::<SEAL>() {
        *seal = seal_of(key, content);
    }
    Ok(value.into())
}

/// The content of a value that [`seal`] made for this key; `None` if it is not what was written.
#[must_use]
pub fn unseal(key: &[u8], value: &Bytes) -> Option<Bytes> {
    let (seal, content) = value.split_first_chunk::<SEAL>()?;
    (*seal == seal_of(key, content)).then(|| value.slice(SEAL..))
}

fn seal_of(key: &[u8], content: &[u8]) -> [u8; SEAL] {
    let mut hash = Sha256::new();
    // The length tells where the key ends.
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
    fn what_was_sealed_comes_back_for_its_own_key_only() {
        let value = seal(b"key", b"content");
        assert_eq!(unseal(b"key", &value).unwrap(), "content");
        assert_eq!(unseal(b"ke", &value), None);
        assert_eq!(unseal(b"", &seal(b"", b"")).unwrap(), "");
    }

    #[test]
    fn what_is_written_is_sealed_as_what_is_there() {
        let write = |value: &mut Vec<u8>| {
            value.extend_from_slice(b"content");
            Ok::<_, ()>(())
        };
        assert_eq!(seal_written(b"key", 0, write).unwrap(), seal(b"key", b"content"));
        assert_eq!(seal_written(b"key", 9, |_| Err(7)), Err(7));
    }

    #[test]
    fn every_changed_byte_and_every_length_is_noticed() {
        let value = seal(b"key", b"content");
        for index in 0..value.len() {
            let mut changed = value.to_vec();
            changed[index] ^= 1;
            assert_eq!(unseal(b"key", &changed.into()), None);
            assert_eq!(unseal(b"key", &value.slice(..index)), None);
        }
    }
}
