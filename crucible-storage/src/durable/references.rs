//! How often the entries of journals name a file.

use bytes::Bytes;
use crucible_core::Digest;
use crucible_kv::{Transaction, seal, unseal};

use super::error::{Damage, Failure, corrupt};
use super::keys;

/// Takes note that an entry names a file.
pub(super) fn add(map: &mut Transaction<'_>, digest: Digest) -> Result<(), Failure> {
    let count = count(map, digest)?;
    put(map, digest, count.saturating_add(1));
    Ok(())
}

/// Takes note that an entry that named a file is gone.
pub(super) fn remove(map: &mut Transaction<'_>, digest: Digest) -> Result<(), Failure> {
    let count = count(map, digest)?;
    put(map, digest, count.saturating_sub(1));
    Ok(())
}

fn count(map: &Transaction<'_>, digest: Digest) -> Result<u64, Failure> {
    let key = keys::references(digest);
    let Some(value) = map.get(&key)? else { return Ok(0) };
    decode(&key, &value).ok_or_else(|| {
        corrupt(format!("the count of what names the blob {digest}"), Damage::Changed)
    })
}

fn decode(key: &[u8], value: &Bytes) -> Option<u64> {
    let count = unseal(key, value)?;
    Some(u64::from_be_bytes(count.as_ref().try_into().ok()?))
}

fn put(map: &mut Transaction<'_>, digest: Digest, count: u64) {
    let key = keys::references(digest);
    if count == 0 {
        map.delete(key);
    } else {
        let value = seal(&key, &count.to_be_bytes());
        map.put(key, value);
    }
}
