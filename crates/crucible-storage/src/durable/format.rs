//! Which layout a storage has.

use bytes::Bytes;
use crucible_kv::{KvError, Store, Transaction, WriteError};

use super::keys;
use super::open::OpenError;

/// The version of the layout that [`keys`] describes, and of the values in it.
///
/// Another version needs a step that makes it from this one, and a fixture that was written by this one.
pub(super) const VERSION: u32 = 1;

/// Makes sure that the layout is the one that this crate reads and writes.
pub(super) async fn check(store: &Store) -> Result<(), OpenError> {
    store.write(check_in).await.map_err(|error| match error {
        WriteError::Aborted(error) => error,
        WriteError::Store(error) => OpenError::Map(error),
    })
}

fn check_in(map: &mut Transaction<'_>) -> Result<(), OpenError> {
    match map.get(keys::FORMAT).map_err(OpenError::Map)? {
        None => {
            map.put(keys::FORMAT, Bytes::from(VERSION.to_string()));
            Ok(())
        }
        Some(text) => match parse(&text) {
            Some(VERSION) => Ok(()),
            Some(found) if found > VERSION => Err(OpenError::TooNew { found, supported: VERSION }),
            _ => Err(OpenError::Map(KvError::Corrupt {
                what: "the version of the storage".into(),
                source: None,
            })),
        },
    }
}

fn parse(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
