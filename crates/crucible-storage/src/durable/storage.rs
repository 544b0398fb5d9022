//! A storage that outlives its process.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{Digest, EvaluationId, Event, Page, Record, RecordQuery, Storage, StorageError};
use crucible_kv::{Store, WriteError};
use tokio::task::{JoinError, spawn_blocking};

use super::error::Failure;
use super::files::Files;
use super::open::is_named;
use super::reading::{Loaded, View};
use super::writing::{Append, Removal};

/// Journals, records and indexes in a map, and what is large in files beside it.
///
/// Clones are the same storage. What an acknowledged write survives is for the [`Store`] to say; the files keep to it as well.
#[derive(Clone)]
pub struct DurableStorage {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) files: Files,
}

impl Inner {
    /// Reads several things at once.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(View<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let inner = Arc::clone(self);
        self.store.read(move |map| read(View { map, files: &inner.files })).await
    }

    /// Writes events with the files that they are in or name.
    async fn append(self: Arc<Self>, append: Append) -> Result<(), Failure> {
        let (files, named) = (append.files.clone(), append.named.clone());
        let writing = Writing::begin(&self, files.iter().map(|(digest, _)| *digest).collect());
        if !files.is_empty() {
            let inner = Arc::clone(&self);
            let write =
                move || files.iter().try_for_each(|(digest, content)| inner.files.write(*digest, content));
            spawn_blocking(write).await.map_err(ended)??;
        }
        let written = self.store.write(move |map| append.write(map)).await;
        match &written {
            Ok(()) => named.into_iter().for_each(|digest| self.files.named(digest)),
            Err(WriteError::Aborted(_)) => {
                // Nobody will name these files for it. (After an error of the map nobody knows that.)
                let digests = writing.digests.clone();
                drop(writing);
                self.discard(digests).await;
            }
            Err(_) => {}
        }
        written.map_err(Failure::from)
    }

    async fn remove(self: Arc<Self>, id: EvaluationId, expected: u64) -> Result<bool, Failure> {
        let loaded = self.read(move |view| view.load(id)).await?;
        let Some(loaded) = loaded else { return Ok(false) };
        let length = loaded.record.sequence;
        let Some(mut named) = self.read(move |view| view.entry_files(id, length)).await? else {
            return Ok(false);
        };
        let outcome = loaded.record.outcome.iter();
        named.extend(outcome.flat_map(|outcome| &outcome.artifacts).map(|artifact| artifact.sha256));
        let removal = Removal::prepare(loaded, expected, named.clone())?;
        let removed = self.store.write(move |map| removal.write(map)).await?;
        if removed {
            self.discard(named).await;
        }
        Ok(removed)
    }

    /// Removes files that nobody needs any more. One that cannot be removed now is when the storage is opened again.
    async fn discard(self: &Arc<Self>, digests: Vec<Digest>) {
        let discard = move |view: View<'_>| {
            for digest in digests {
                view.files.discard::<Failure>(digest, || is_named(view.map, digest))?;
            }
            Ok(())
        };
        let _left = self.read(discard).await;
    }
}

/// Files that are being written, with what names them.
struct Writing {
    inner: Arc<Inner>,
    digests: Vec<Digest>,
}

impl Writing {
    fn begin(inner: &Arc<Inner>, digests: Vec<Digest>) -> Self {
        digests.iter().for_each(|digest| inner.files.write_begins(*digest));
        Self { inner: Arc::clone(inner), digests }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.digests.iter().for_each(|digest| self.inner.files.write_ended(*digest));
    }
}

/// A task was ended before it was done: the runtime is shutting down, or there is a bug.
fn ended(error: JoinError) -> Failure {
    Failure(StorageError::Unavailable { source: error.into() })
}

/// Does something to its end, also if nobody waits for it any more.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::spawn(work).await.map_err(ended).and_then(|result| result).map_err(|Failure(error)| error)
}

#[async_trait]
impl Storage for DurableStorage {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        let current: Option<Loaded> =
            self.inner.read(move |view| view.load(id)).await.map_err(|Failure(error)| error)?;
        let (append, record) =
            Append::prepare(id, expected, current.as_ref(), &events).map_err(|Failure(error)| error)?;
        if events.is_empty() {
            return Ok(record);
        }
        if append.files.is_empty() && append.named.is_empty() {
            let written = self.inner.store.write(move |map| append.write(map)).await;
            return written.map(|()| record).map_err(|error| Failure::from(error).0);
        }
        to_the_end(Arc::clone(&self.inner).append(append)).await?;
        Ok(record)
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        let loaded = self.inner.read(move |view| view.load(id)).await.map_err(|Failure(error)| error)?;
        Ok(loaded.map(|loaded| loaded.record))
    }

    async fn records(&self, query: &RecordQuery) -> Result<Page, StorageError> {
        let query = query.clone();
        self.inner.read(move |view| view.page(&query)).await.map_err(|Failure(error)| error)
    }

    async fn journal(&self, id: EvaluationId, after: u64) -> Result<Vec<Event>, StorageError> {
        self.inner.read(move |view| view.journal(id, after)).await.map_err(|Failure(error)| error)
    }

    async fn put_blob(&self, content: Bytes) -> Result<Digest, StorageError> {
        let inner = Arc::clone(&self.inner);
        let put = move || {
            let digest = Digest::of(&content);
            inner.files.keep(digest);
            let written = inner.files.write(digest, &content);
            if written.is_err() {
                inner.files.named(digest);
            }
            written.map(|()| digest).map_err(Failure::from)
        };
        let put = spawn_blocking(put).await.map_err(ended).and_then(|result| result);
        put.map_err(|Failure(error)| error)
    }

    async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        self.inner.read(move |view| view.blob(digest)).await.map_err(|Failure(error)| error)
    }

    async fn remove(&self, id: EvaluationId, expected: u64) -> Result<bool, StorageError> {
        to_the_end(Arc::clone(&self.inner).remove(id, expected)).await
    }
}

impl fmt::Debug for DurableStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStorage")
            .field("store", &self.inner.store)
            .field("files", &self.inner.files)
            .finish()
    }
}
