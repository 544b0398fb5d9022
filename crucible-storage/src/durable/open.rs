//! Opening a storage.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crucible_core::Digest;
use crucible_kv::{Durability, KvError, Reader, Store};

use super::files::Files;
use super::known::Known;
use super::storage::Inner;
use super::{DurableStorage, format, keys};

/// A storage could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It was written by a later version.
    #[error("the storage has format {found}, and {supported} is the newest that can be read")]
    TooNew {
        /// The format that it has.
        found: u32,
        /// The newest that can be read.
        supported: u32,
    },
    /// Its map cannot be read or written.
    #[error("the map of the storage cannot be opened")]
    Map(#[source] KvError),
    /// Its files cannot be read or written.
    #[error("the files in `{}` cannot be opened", directory.display())]
    Files {
        /// Where they are.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<KvError> for OpenError {
    fn from(error: KvError) -> Self {
        Self::Map(error)
    }
}

/// What goes wrong while files are swept.
enum Sweep {
    Map(KvError),
    Files(io::Error),
}

impl From<KvError> for Sweep {
    fn from(error: KvError) -> Self {
        Self::Map(error)
    }
}

impl From<io::Error> for Sweep {
    fn from(error: io::Error) -> Self {
        Self::Files(error)
    }
}

impl DurableStorage {
    /// Opens a storage over a map, with the directory in which it keeps what is large. The directory is made if it is not
    /// there; nobody else may use it meanwhile, which whoever locks the map has to see to.
    ///
    /// Files that a process left before the map had them are removed: this looks at the name of each file once.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(store: &Store, directory: impl Into<PathBuf>) -> Result<Self, OpenError> {
        format::check(store).await?;
        let directory = directory.into();
        let survives_power = store.durability() == Durability::Power;
        let failed = |source| OpenError::Files { directory: directory.clone(), source };
        let opened = {
            let directory = directory.clone();
            tokio::task::spawn_blocking(move || Files::open(directory, survives_power)).await
        };
        let files = opened.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        let inner = Arc::new(Inner { store: store.clone(), files, known: Known::default() });
        let swept = Arc::clone(&inner);
        store.read(move |map| sweep(&swept.files, map)).await.map_err(|error| match error {
            Sweep::Map(error) => OpenError::Map(error),
            Sweep::Files(error) => failed(error),
        })?;
        Ok(Self { inner })
    }
}

/// Removes files that the map does not have.
fn sweep(files: &Files, map: Reader<'_>) -> Result<(), Sweep> {
    for first_byte in 0..=u8::MAX {
        for digest in files.list(first_byte)? {
            files.discard::<Sweep>(digest, || is_named(map, digest))?;
        }
    }
    Ok(())
}

/// Whether an entry names a file.
pub(super) fn is_named<E: From<KvError>>(map: Reader<'_>, digest: Digest) -> Result<bool, E> {
    Ok(map.get(&keys::references(digest))?.is_some())
}
