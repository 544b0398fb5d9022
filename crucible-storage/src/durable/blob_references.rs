//! Reference counts of blob files.

use bytes::Bytes;
use crucible_core::Digest;
use crucible_kv::{KvError, StoreReader, Transaction, add_checksum, verify_checksum};

use super::error::{Corruption, StorageFailure, corrupt};
use super::keys;

/// Adds a reference to a file.
pub(super) fn add(map: &mut Transaction<'_>, digest: Digest) -> Result<(), StorageFailure> {
    let count = count(map, digest)?;
    put(map, digest, count.saturating_add(1));
    Ok(())
}

/// Removes a reference to a file.
pub(super) fn remove(map: &mut Transaction<'_>, digest: Digest) -> Result<(), StorageFailure> {
    let count = count(map, digest)?;
    put(map, digest, count.saturating_sub(1));
    Ok(())
}

/// Returns `true` if an entry refers to a file.
pub(super) fn exists(map: StoreReader<'_>, digest: Digest) -> Result<bool, KvError> {
    Ok(map.get(&keys::references(digest))?.is_some())
}

fn count(map: &Transaction<'_>, digest: Digest) -> Result<u64, StorageFailure> {
    let key = keys::references(digest);
    let Some(value) = map.get(&key)? else { return Ok(0) };
    decode(&key, &value).ok_or_else(|| {
        corrupt(format!("the reference count of the blob {digest}"), Corruption::Changed)
    })
}

fn decode(key: &[u8], value: &Bytes) -> Option<u64> {
    let count = verify_checksum(key, value)?;
    Some(u64::from_be_bytes(count.as_ref().try_into().ok()?))
}

fn put(map: &mut Transaction<'_>, digest: Digest, count: u64) {
    let key = keys::references(digest);
    if count == 0 {
        map.delete(key);
    } else {
        let value = add_checksum(&key, &count.to_be_bytes());
        map.put(key, value);
    }
}
