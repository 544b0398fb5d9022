//! The operations of a durable storage on its store and its files.

use std::sync::Arc;

use crucible_core::{Digest, EvaluationId, Event, Record, StorageError};
use crucible_kv::{Store, WriteError};
use tokio::task::{JoinError, spawn_blocking};

use super::append::Append;
use super::blob_files::BlobFiles;
use super::error::StorageFailure;
use super::record_cache::RecordCache;
use super::removal::EvaluationRemoval;
use super::storage_view::{LoadedRecord, StorageView};
use super::{blob_references, keys};

/// A store, its files, and a cache of records.
pub(super) struct StorageCore {
    pub(super) store: Store,
    pub(super) files: BlobFiles,
    pub(super) cache: RecordCache,
}

impl StorageCore {
    /// Runs a closure that reads the store and the files.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(StorageView<'_>) -> Result<T, StorageFailure> + Send + 'static,
    ) -> Result<T, StorageFailure> {
        let core = Arc::clone(self);
        self.store.read(move |map| read(StorageView { map, files: &core.files })).await
    }

    /// Returns the record of an evaluation.
    pub(super) async fn load(
        self: &Arc<Self>,
        id: EvaluationId,
    ) -> Result<Option<Arc<LoadedRecord>>, StorageFailure> {
        let cached = self.cache.get(id);
        if let Some(cached) = &cached
            && self.store.get_cached(&keys::row(id))?.flatten().as_ref() == Some(&cached.row)
        {
            return Ok(Some(Arc::clone(cached)));
        }
        let loaded = match LoadedRecord::load_cached(&self.store, id)? {
            Some(loaded) => Some(loaded),
            None => self.read(move |view| view.load(id)).await?,
        };
        let loaded = loaded.map(Arc::new);
        if let Some(loaded) = &loaded {
            self.cache.insert(Arc::clone(loaded));
        }
        Ok(loaded)
    }

    /// Appends events to a journal whose last known record is `current`.
    pub(super) async fn append(
        self: &Arc<Self>,
        id: EvaluationId,
        expected: u64,
        current: Option<&LoadedRecord>,
        events: &[Event],
    ) -> Result<Record, StorageFailure> {
        let (append, record) = Append::prepare(id, expected, current, events)?;
        if events.is_empty() {
            return Ok(record);
        }
        let (row, generation) = (append.row.clone(), self.store.generation());
        let is_large = !append.files.is_empty() || current.is_some_and(|current| current.is_large);
        if append.files.is_empty() && append.artifacts.is_empty() {
            self.store.write(move |map| append.write(map)).await?;
        } else {
            run_to_completion(Arc::clone(self).append_with_files(append)).await?;
        }
        let loaded = LoadedRecord { record: record.clone(), row, generation, is_large };
        self.cache.insert(Arc::new(loaded));
        Ok(record)
    }

    /// Appends events that have files or refer to artifacts.
    async fn append_with_files(self: Arc<Self>, append: Append) -> Result<(), StorageFailure> {
        let (files, artifacts) = (append.files.clone(), append.artifacts.clone());
        let writing = FileWrite::begin(&self, files.iter().map(|(digest, _)| *digest).collect());
        if !files.is_empty() {
            let core = Arc::clone(&self);
            let write = move || {
                files.iter().try_for_each(|(digest, content)| core.files.write(*digest, content))
            };
            spawn_blocking(write).await.map_err(task_failed)??;
        }
        let written = self.store.write(move |map| append.write(map)).await;
        match &written {
            Ok(()) => artifacts.into_iter().for_each(|digest| self.files.unpin(digest)),
            Err(WriteError::Aborted(_)) => {
                // No reference to these files was written. (After an error of the store, that is
                // unknown.)
                let digests = writing.digests.clone();
                drop(writing);
                self.remove_unused_files(digests).await;
            }
            Err(_) => {}
        }
        written.map_err(StorageFailure::from)
    }

    /// Removes an ended evaluation. Returns `false` if it does not exist.
    pub(super) async fn remove(
        self: Arc<Self>,
        id: EvaluationId,
        expected: u64,
    ) -> Result<bool, StorageFailure> {
        let loaded = self.read(move |view| view.load(id)).await?;
        let Some(loaded) = loaded else { return Ok(false) };
        let length = loaded.record.sequence;
        let files = self.read(move |view| view.entry_files(id, length)).await?;
        let Some(mut references) = files else { return Ok(false) };
        let artifacts = loaded.record.outcome.iter().flat_map(|outcome| &outcome.artifacts);
        references.extend(artifacts.map(|artifact| artifact.sha256));
        let removal = EvaluationRemoval::prepare(loaded, expected, references.clone())?;
        let removed = self.store.write(move |map| removal.write(map)).await?;
        self.cache.remove(id);
        if removed {
            self.remove_unused_files(references).await;
        }
        Ok(removed)
    }

    /// Removes files without references. If a removal fails, the next opening repeats it.
    async fn remove_unused_files(self: &Arc<Self>, digests: Vec<Digest>) {
        let remove = move |view: StorageView<'_>| {
            for digest in digests {
                let is_referenced = || Ok(blob_references::exists(view.map, digest)?);
                view.files.remove_unused::<StorageFailure>(digest, is_referenced)?;
            }
            Ok(())
        };
        let _repeated_at_open = self.read(remove).await;
    }
}

/// A registered write of files and their references. Dropping it ends the write.
struct FileWrite {
    core: Arc<StorageCore>,
    digests: Vec<Digest>,
}

impl FileWrite {
    fn begin(core: &Arc<StorageCore>, digests: Vec<Digest>) -> Self {
        digests.iter().for_each(|digest| core.files.begin_write(*digest));
        Self { core: Arc::clone(core), digests }
    }
}

impl Drop for FileWrite {
    fn drop(&mut self) {
        self.digests.iter().for_each(|digest| self.core.files.end_write(*digest));
    }
}

/// Converts the error of a task that did not complete: the runtime shuts down, or there is a bug.
pub(super) fn task_failed(error: JoinError) -> StorageFailure {
    StorageFailure(StorageError::Unavailable { source: error.into() })
}

/// Runs a future to its end, even if the caller drops the returned future.
pub(super) async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, StorageFailure>> + Send + 'static,
) -> Result<T, StorageFailure> {
    tokio::spawn(work).await.map_err(task_failed)?
}
