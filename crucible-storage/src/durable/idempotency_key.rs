//! Idempotency keys and the evaluations that own them.

use bytes::Bytes;
use crucible_core::{EvaluationId, Record, StorageError};
use crucible_kv::{Transaction, add_checksum, verify_checksum};

use super::error::{Corruption, StorageFailure, corrupt};
use super::keys;

/// The change of a tenant's idempotency key that an append causes.
#[derive(Debug)]
pub(super) struct KeyChange {
    store_key: Bytes,
    key: String,
    /// Whether the record is new, so that no other evaluation may own the key.
    is_new: bool,
    /// Whether the evaluation owns the key afterwards. A refused evaluation does not.
    is_owner: bool,
}

impl KeyChange {
    /// Returns the change from one record to the next; `None` if there is none.
    pub(super) fn of(before: Option<&Record>, record: &Record) -> Option<Self> {
        let is_new = before.is_none();
        let is_owner = !record.is_refused();
        // Only the first entry takes a key, and only a refusal releases it.
        if !is_new && is_owner {
            return None;
        }
        let key = record.evaluation.idempotency_key.clone()?;
        let store_key = keys::idempotency(&record.evaluation.tenant, &key);
        Some(Self { store_key, key, is_new, is_owner })
    }

    /// Writes the change.
    pub(super) fn write(
        self,
        id: EvaluationId,
        map: &mut Transaction<'_>,
    ) -> Result<(), StorageFailure> {
        match owner(map, &self.store_key)? {
            Some(existing) if self.is_new => {
                return Err(StorageError::KeyTaken { key: self.key, existing }.into());
            }
            Some(existing) if existing == id && !self.is_owner => map.delete(self.store_key),
            None if self.is_owner => {
                let value = add_checksum(&self.store_key, &id.to_bytes());
                map.put(self.store_key, value);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns the evaluation that owns an idempotency key.
pub(super) fn owner(
    map: &Transaction<'_>,
    store_key: &[u8],
) -> Result<Option<EvaluationId>, StorageFailure> {
    let Some(value) = map.get(store_key)? else { return Ok(None) };
    let id = verify_checksum(store_key, &value)
        .and_then(|id| Some(EvaluationId::from_bytes(id.as_ref().try_into().ok()?)));
    id.map(Some).ok_or_else(|| corrupt("an idempotency key", Corruption::Changed))
}
