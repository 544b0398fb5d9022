//! A storage that outlives its process.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Digest, EvaluationId, Event, Record, RecordPage, RecordQuery, Storage, StorageError,
};
use crucible_kv::{Store, WriteError};
use tokio::task::{JoinError, spawn_blocking};

use super::error::Failure;
use super::files::Files;
use super::keys;
use super::known::Known;
use super::open::is_named;
use super::reading::{Loaded, View, load_at_once};
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
    pub(super) known: Known,
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

    /// An evaluation's record.
    async fn load(self: &Arc<Self>, id: EvaluationId) -> Result<Option<Arc<Loaded>>, Failure> {
        let known = self.known.get(id);
        if let Some(known) = &known
            && self.store.get_cached(&keys::row(id))?.flatten().as_ref() == Some(&known.value)
        {
            return Ok(Some(Arc::clone(known)));
        }
        let loaded = match load_at_once(&self.store, id)? {
            Some(loaded) => Some(loaded),
            None => self.read(move |view| view.load(id)).await?,
        };
        let loaded = loaded.map(Arc::new);
        if let Some(loaded) = &loaded {
            self.known.keep(Arc::clone(loaded));
        }
        Ok(loaded)
    }

    /// Appends events to what an evaluation was when it was last looked at.
    async fn append(
        self: &Arc<Self>,
        id: EvaluationId,
        expected: u64,
        current: Option<&Loaded>,
        events: &[Event],
    ) -> Result<Record, Failure> {
        let (append, record) = Append::prepare(id, expected, current, events)?;
        if events.is_empty() {
            return Ok(record);
        }
        let (value, moment) = (append.row.clone(), self.store.moment());
        let is_large = !append.files.is_empty() || current.is_some_and(|current| current.is_large);
        if append.files.is_empty() && append.named.is_empty() {
            self.store.write(move |map| append.write(map)).await?;
        } else {
            to_the_end(Arc::clone(self).append_with_files(append)).await?;
        }
        self.known.keep(Arc::new(Loaded { record: record.clone(), value, moment, is_large }));
        Ok(record)
    }

    /// Writes events with the files that they are in or name.
    async fn append_with_files(self: Arc<Self>, append: Append) -> Result<(), Failure> {
        let (files, named) = (append.files.clone(), append.named.clone());
        let writing = Writing::begin(&self, files.iter().map(|(digest, _)| *digest).collect());
        if !files.is_empty() {
            let inner = Arc::clone(&self);
            let write = move || {
                files.iter().try_for_each(|(digest, content)| inner.files.write(*digest, content))
            };
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
        named
            .extend(outcome.flat_map(|outcome| &outcome.artifacts).map(|artifact| artifact.sha256));
        let removal = Removal::prepare(loaded, expected, named.clone())?;
        let removed = self.store.write(move |map| removal.write(map)).await?;
        self.known.forget(id);
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
    tokio::spawn(work)
        .await
        .map_err(ended)
        .and_then(|result| result)
        .map_err(|Failure(error)| error)
}

#[async_trait]
impl Storage for DurableStorage {
    async fn append(
        &self,
        id: EvaluationId,
        expected: u64,
        events: Vec<Event>,
    ) -> Result<Record, StorageError> {
        // That there is nothing yet, or what was there a moment ago, is mostly true. If it is not, the write finds that.
        let known = self.inner.known.get(id).filter(|known| known.record.sequence == expected);
        if !events.is_empty() && (expected == 0 || known.is_some()) {
            match self.inner.append(id, expected, known.as_deref(), &events).await {
                Err(Failure(StorageError::Conflict { .. } | StorageError::Transition { .. })) => {}
                appended => return appended.map_err(|Failure(error)| error),
            }
        }
        let appended = async {
            let current = self.inner.load(id).await?;
            self.inner.append(id, expected, current.as_deref(), &events).await
        };
        appended.await.map_err(|Failure(error)| error)
    }

    async fn record(&self, id: EvaluationId) -> Result<Option<Record>, StorageError> {
        let loaded = self.inner.load(id).await.map_err(|Failure(error)| error)?;
        Ok(loaded.map(|loaded| loaded.record.clone()))
    }

    async fn records(&self, query: &RecordQuery) -> Result<RecordPage, StorageError> {
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
