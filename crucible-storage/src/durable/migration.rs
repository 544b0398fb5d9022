//! Layout versions and migrations.

use bytes::Bytes;
use crucible_kv::{KvError, Range, Store, Transaction, WriteError, layout_version};

use super::error::StorageOpenError;
use super::record_row::RecordRow;
use super::{keys, time_index};

/// The version of the layout that [`keys`] defines, and of its values.
///
/// - 1: the first version.
/// - 2: submission times have buckets of one second and of ten minutes. Version 1 has only buckets
///   of ten minutes.
///
/// A new version needs a migration in [`MIGRATIONS`], and a fixture in the format of this one.
pub(super) const VERSION: u32 = 2;

/// Converts a layout to the next version, within the write that stores the version.
type Migration = fn(&mut Transaction<'_>) -> Result<(), KvError>;

/// The migration from version `n + 1` is at index `n`.
const MIGRATIONS: [Migration; VERSION as usize - 1] = [add_buckets_of_seconds];

/// Checks that this version can read the layout, and migrates an older one.
pub(super) async fn check_format(store: &Store) -> Result<(), StorageOpenError> {
    store.write(migrate).await.map_err(|error| match error {
        WriteError::Aborted(error) => error,
        WriteError::Store(error) => StorageOpenError::Map(error),
    })
}

fn migrate(map: &mut Transaction<'_>) -> Result<(), StorageOpenError> {
    let found = layout_version(map, keys::FORMAT, "the version of the storage")?;
    let found = found.unwrap_or(VERSION);
    if found > VERSION {
        return Err(StorageOpenError::TooNew { found, supported: VERSION });
    }
    for migration in MIGRATIONS.iter().skip(found as usize - 1) {
        migration(map)?;
    }
    map.put(keys::FORMAT, Bytes::from(VERSION.to_string()));
    Ok(())
}

/// Migrates from version 1 to 2: builds all buckets from the record rows. Skips corrupt rows: their
/// submission time is unknown, and their records cannot be read either.
fn add_buckets_of_seconds(map: &mut Transaction<'_>) -> Result<(), KvError> {
    map.for_each(Range::prefix(keys::TIME_BUCKETS), |map, key, _| {
        map.delete(key);
        Ok(())
    })?;
    map.for_each(Range::prefix(keys::EVALUATIONS), |map, key, value| {
        let id = keys::evaluation_of_row(&key);
        match id.and_then(|id| Some((id, RecordRow::decode(id, &value).ok()?))) {
            Some((id, row)) => time_index::add(map, id, row.submitted_at),
            None => Ok(()),
        }
    })
}
