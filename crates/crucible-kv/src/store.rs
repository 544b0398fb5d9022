//! A backend with one writer thread.

use std::fmt;
use std::panic;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::write_closure::{ClosureResult, WaitFor, write_job};
use crate::write_queue::{Job, WriteQueue};
use crate::writer::StoreWriter;
use crate::{
    Backend, Durability, Generation, KvError, Range, StoreReader, Transaction, WriteError,
    WritePermit,
};

/// An ordered map of bytes. Clones share one store.
///
/// One thread runs write closures in the order in which they arrive, several of them in one
/// *group*. It makes a group durable once and then answers all callers in the group. A closure sees
/// all earlier writes, so that it can read and then write without a conflict.
///
/// Dropping the last clone waits until all submitted writes are done, and then drops the backend.
/// [`close`](Self::close) does the same without blocking the thread.
#[derive(Clone, Debug)]
pub struct Store(Arc<StoreInner>);

struct StoreInner {
    backend: Arc<dyn Backend>,
    queue: Arc<WriteQueue>,
    poison: Arc<OnceLock<Arc<str>>>,
    durability: Durability,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Closes when the writer thread ends, because that thread owns the sender.
    writer_ended: watch::Receiver<()>,
}

impl Store {
    /// Opens a store over a backend. Every acknowledged write has the durability given here.
    ///
    /// # Errors
    /// Returns [`KvError::UnsupportedDurability`] if the backend does not provide the level, or
    /// [`KvError::Unavailable`] if the writer thread cannot be started.
    pub fn open(backend: impl Backend, durability: Durability) -> Result<Self, KvError> {
        let strongest = backend.strongest();
        if durability > strongest {
            return Err(KvError::UnsupportedDurability { requested: durability, strongest });
        }
        let backend: Arc<dyn Backend> = Arc::new(backend);
        let (queue, poison) = (Arc::new(WriteQueue::new()), Arc::new(OnceLock::new()));
        let (ended_sender, writer_ended) = watch::channel(());
        let writer = StoreWriter {
            backend: Arc::clone(&backend),
            queue: Arc::clone(&queue),
            poison: Arc::clone(&poison),
            durability,
        };
        let work = move || {
            writer.run();
            drop(ended_sender);
        };
        let writer = thread::Builder::new()
            .name("crucible-kv".to_owned())
            .spawn(work)
            .map_err(|error| KvError::from_io("a thread", error))?;
        let writer = Mutex::new(Some(writer));
        Ok(Self(Arc::new(StoreInner { backend, queue, poison, durability, writer, writer_ended })))
    }

    /// Returns the durability of acknowledged writes.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.0.durability
    }

    /// Returns the failure that poisoned the store; `None` while it accepts writes.
    #[must_use]
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.0.poison.get().cloned()
    }

    /// Returns the committed value of a key.
    ///
    /// # Errors
    /// Returns an error if the value cannot be read.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Bytes>, KvError> {
        let key = key.into();
        self.read(move |reader| reader.get(&key)).await
    }

    /// Returns the committed value of a key if it is in memory; `None` if the store would have to
    /// read the disk.
    ///
    /// # Errors
    /// Returns an error if the value cannot be read.
    pub fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        self.0.backend.get_cached(key)
    }

    /// Returns the current generation. Take it before a read.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation::of(&*self.0.backend)
    }

    /// Returns the first `limit` committed entries of a range, in the order of the range.
    ///
    /// # Errors
    /// Returns an error if an entry cannot be read.
    pub async fn scan(&self, range: Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.read(move |reader| reader.scan(&range, limit)).await
    }

    /// Runs a closure that reads, on a thread that may wait for the disk. Use it to make several
    /// reads with one change of threads.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing. The closure may run to its end.
    ///
    /// # Errors
    /// Returns the error of the closure, or [`KvError::Unavailable`] if the runtime shuts down.
    pub async fn read<T, E>(
        &self,
        f: impl FnOnce(StoreReader<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<KvError> + Send + 'static,
    {
        // Without a runtime, only the calling thread can wait.
        if !self.0.backend.reads_wait() || tokio::runtime::Handle::try_current().is_err() {
            return f(StoreReader::new(&*self.0.backend));
        }
        let store = self.clone();
        let read = move || f(StoreReader::new(&*store.0.backend));
        match tokio::task::spawn_blocking(read).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                Err(error) => Err(KvError::Unavailable {
                    what: "the runtime".into(),
                    source: Arc::new(error),
                }
                .into()),
            },
        }
    }

    /// Runs a closure that writes, and waits until its writes are durable.
    ///
    /// The closure runs on the writer thread and must not block. If it panics, this function
    /// panics as well.
    ///
    /// # Cancel safety
    /// If the future is dropped, the write is made as a whole or not at all.
    ///
    /// # Errors
    /// Returns the error of the closure; its writes are then discarded, and the other writes of the
    /// group are made. Otherwise returns the error of the store.
    pub async fn write<T, E>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(f, WaitFor::Durable).await
    }

    /// Runs a closure that writes, and does not wait until its writes are durable.
    ///
    /// The writes are committed with the next group, within a few milliseconds. Later writes see
    /// them immediately, reads see them after the commit. If that group fails or the process
    /// crashes, the writes are lost without an error. Use this only for writes that can be
    /// repeated.
    ///
    /// # Cancel safety
    /// If the future is dropped, the write is made as a whole or not at all.
    ///
    /// # Errors
    /// Returns the same errors as [`write`](Self::write), except those of the commit.
    pub async fn write_later<T, E>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(f, WaitFor::Run).await
    }

    /// Waits for a free slot in the write queue. The returned permit submits one write without
    /// waiting.
    ///
    /// # Cancel safety
    /// Dropping the future or the permit frees the slot.
    ///
    /// # Errors
    /// Returns an error if the store is closed or poisoned.
    pub async fn reserve(&self) -> Result<WritePermit<'_>, KvError> {
        match self.poisoned() {
            Some(reason) => Err(KvError::Poisoned { reason }),
            None => self.0.queue.reserve().await.map(WritePermit::new),
        }
    }

    /// Returns the disk space of the store, in bytes.
    ///
    /// # Errors
    /// Returns an error if the size of a file cannot be read.
    pub async fn disk_bytes(&self) -> Result<u64, KvError> {
        self.read(|reader| reader.disk_bytes()).await
    }

    /// Releases the space of deleted entries. Writes wait meanwhile.
    ///
    /// # Errors
    /// Returns an error if the disk is full or the store is poisoned.
    pub async fn compact(&self) -> Result<(), KvError> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(|result| drop(answer.send(result)));
        self.0.queue.push(Job::Compact(answer)).await?;
        answered.await.unwrap_or(Err(KvError::Closed))
    }

    /// Closes the store for all clones: refuses new writes and waits until the submitted ones are
    /// done. The backend is dropped with the last clone.
    ///
    /// # Errors
    /// Returns [`KvError::Poisoned`] if the store is poisoned; the last writes may then be lost.
    pub async fn close(self) -> Result<(), KvError> {
        self.0.queue.close();
        let mut ended = self.0.writer_ended.clone();
        // An error means that the writer thread has dropped the sender.
        while ended.changed().await.is_ok() {}
        match self.poisoned() {
            Some(reason) => Err(KvError::Poisoned { reason }),
            None => Ok(()),
        }
    }

    async fn submit<T, E>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        wait_for: WaitFor,
    ) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // If the caller has dropped its future, the answer is discarded.
        let job = write_job(f, wait_for, move |result| drop(answer.send(result)));
        self.0.queue.push(job).await?;
        match answered.await {
            Ok(ClosureResult::Returned(result)) => result,
            Ok(ClosureResult::Panicked(panic)) => panic::resume_unwind(panic),
            Err(_writer_ended) => Err(KvError::Closed.into()),
        }
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        self.queue.close();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A write closure may hold the last clone. Then this runs on the writer thread itself,
        // which must not join itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id())
        {
            // The writer thread catches panics, so the result carries no information.
            drop(writer.join());
        }
    }
}

impl fmt::Debug for StoreInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.backend)
            .field("durability", &self.durability)
            .field("queue", &self.queue)
            .field("poisoned", &self.poison.get())
            .finish_non_exhaustive()
    }
}
