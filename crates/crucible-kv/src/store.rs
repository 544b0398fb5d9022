//! A backend with one thread that writes to it.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::queue::{self, Job, Queue, Ran};
use crate::writer::Writer;
use crate::{Backend, Batch, Durability, Generation, KvError, Range, Transaction, WriteError};

/// An ordered map of bytes. Clones are the same store.
///
/// Writes are closures that one thread runs in the order of their arrival, many of them in one *group*: a group is made
/// durable once, and then everybody in it is answered. A closure sees everything that was written before it, so that it can
/// look first and then write, without a conflict.
///
/// When the last clone is dropped, what was handed in is written, and then the backend is dropped: dropping it waits for that.
/// [`close`](Self::close) waits without holding a thread up.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

struct Shared {
    backend: Arc<dyn Backend>,
    queue: Arc<Queue>,
    poison: Arc<OnceLock<Arc<str>>>,
    durability: Durability,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Its other end is the writer's, and goes with it.
    ended: watch::Receiver<()>,
}

impl Store {
    /// Opens a store over a backend. Every write is as durable as asked here before it is acknowledged.
    ///
    /// # Errors
    /// [`KvError::TooWeak`]: the backend does not keep that; or there is no thread to be had.
    pub fn open(backend: impl Backend, durability: Durability) -> Result<Self, KvError> {
        let strongest = backend.strongest();
        if durability > strongest {
            return Err(KvError::TooWeak { asked: durability, strongest });
        }
        let backend: Arc<dyn Backend> = Arc::new(backend);
        let (queue, poison) = (Arc::new(Queue::new()), Arc::new(OnceLock::new()));
        let (ends, ended) = watch::channel(());
        let writer = Writer {
            backend: Arc::clone(&backend),
            queue: Arc::clone(&queue),
            poison: Arc::clone(&poison),
            durability,
        };
        let work = move || {
            writer.run();
            drop(ends);
        };
        let writer = thread::Builder::new()
            .name("crucible-kv".to_owned())
            .spawn(work)
            .map_err(|error| KvError::from_io("a thread", error))?;
        let writer = Mutex::new(Some(writer));
        Ok(Self(Arc::new(Shared { backend, queue, poison, durability, writer, ended })))
    }

    /// What an acknowledged write survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.0.durability
    }

    /// Why the store does not write any more; `None` while it does.
    #[must_use]
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.0.poison.get().cloned()
    }

    /// The value of a key, as the last group has left it.
    ///
    /// # Errors
    /// The value cannot be read.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Bytes>, KvError> {
        let key = key.into();
        self.read(move |reader| reader.get(&key)).await
    }

    /// The value of a key, as the last group has left it, if that can be told without waiting for a disk: `None` if it cannot.
    ///
    /// # Errors
    /// The value cannot be read.
    pub fn get_cached(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, KvError> {
        self.0.backend.get_cached(key)
    }

    /// The present moment, for what is read from here on.
    #[must_use]
    pub fn moment(&self) -> Generation {
        Generation::of(&*self.0.backend)
    }

    /// The first `limit` entries of a range in its order, as the last group has left them.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub async fn scan(&self, range: Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.read(move |reader| reader.scan(&range, limit)).await
    }

    /// Runs a closure that reads, on a thread that may wait for the disk: one hand-over for many reads.
    ///
    /// Dropping the future has no effect, but that the closure may go on to its end.
    ///
    /// # Errors
    /// The closure's; or [`KvError::Unavailable`]: the runtime ends.
    pub async fn read<T, E>(
        &self,
        f: impl FnOnce(Reader<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<KvError> + Send + 'static,
    {
        // Without a runtime nobody's thread is held up but the caller's own.
        if !self.0.backend.reads_wait() || tokio::runtime::Handle::try_current().is_err() {
            return f(Reader(&*self.0.backend));
        }
        let store = self.clone();
        match tokio::task::spawn_blocking(move || f(Reader(&*store.0.backend))).await {
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

    /// Runs a closure that writes, in its turn, and waits until what it wrote is durable.
    ///
    /// The closure runs on the one thread that writes: it must not wait for anything. If it panics, so does this.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the write done wholly or not at all.
    ///
    /// # Errors
    /// The closure's, in which case none of its writes are made, and the others of its group are; or the store's.
    pub async fn write<T, E>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(f, When::Durable).await
    }

    /// Like [`write`](Self::write), but does not wait for its writes to be durable. They are made with the next group, after
    /// a few milliseconds at the latest; every later write sees them, and reads see them once they are made.
    ///
    /// If that group fails, or the power does, they are lost, and nobody is told. So it is for what can be done again.
    ///
    /// # Cancel safety
    /// As of [`write`](Self::write).
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    pub async fn write_later<T, E>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(f, When::Run).await
    }

    /// Waits for a place in line, in turn, for a write that is to be handed in without waiting for anything.
    ///
    /// # Cancel safety
    /// Dropping the future, or the place, leaves the place to others.
    ///
    /// # Errors
    /// The store is closed or poisoned.
    pub async fn place(&self) -> Result<Place<'_>, KvError> {
        match self.poisoned() {
            Some(reason) => Err(KvError::Poisoned { reason }),
            None => self.0.queue.place().await.map(Place),
        }
    }

    /// How many bytes the store takes on disk.
    ///
    /// # Errors
    /// The files cannot be looked at.
    pub async fn disk_bytes(&self) -> Result<u64, KvError> {
        self.read(|reader| reader.0.disk_bytes()).await
    }

    /// Gives back the space of what was deleted. Writes wait meanwhile.
    ///
    /// # Errors
    /// There is no room to do it in, or the store is poisoned.
    pub async fn compact(&self) -> Result<(), KvError> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(|result| drop(answer.send(result)));
        self.0.queue.push(Job::Compact(answer)).await?;
        answered.await.unwrap_or(Err(KvError::Closed))
    }

    /// Lets no clone write any more, writes what was handed in, and waits for that. The backend goes with the last clone.
    ///
    /// # Errors
    /// The store is poisoned: what was written last may be lost.
    pub async fn close(self) -> Result<(), KvError> {
        self.0.queue.close();
        let mut ended = self.0.ended.clone();
        // That the other end is gone is what is waited for.
        while ended.changed().await.is_ok() {}
        match self.poisoned() {
            Some(reason) => Err(KvError::Poisoned { reason }),
            None => Ok(()),
        }
    }

    async fn submit<T, E>(
        &self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        when: When,
    ) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // Whoever has dropped the future wants no answer.
        let answer = move |ended| drop(answer.send(ended));
        let job = move |transaction: Result<Transaction<'_>, KvError>| -> Ran {
            let (writes, ended) = match transaction {
                Ok(transaction) => run(transaction, f),
                Err(error) => (Batch::new(), Ended::Value(Err(error.into()))),
            };
            match (when, ended) {
                // An error follows from what the closure saw, so that it too is told once that is durable.
                (When::Durable, Ended::Value(result)) => {
                    let answer = move |committed: Result<(), KvError>| {
                        answer(Ended::Value(committed.map_err(WriteError::Store).and(result)));
                    };
                    (writes, Some(Box::new(answer)))
                }
                (_, ended) => {
                    answer(ended);
                    (writes, None)
                }
            }
        };
        self.0.queue.push(Job::Write(Box::new(job))).await?;
        match answered.await {
            Ok(Ended::Value(result)) => result,
            Ok(Ended::Panic(panic)) => panic::resume_unwind(panic),
            Err(_gone) => Err(KvError::Closed.into()),
        }
    }
}

/// A place in line for one write.
#[derive(Debug)]
pub struct Place<'a>(queue::Place<'a>);

impl Place<'_> {
    /// Puts a closure in line that writes. It is run in its turn, and what it writes is made with the group of its turn, after some
    /// milliseconds at the latest: as of [`Store::write_later`], but nobody waits for it.
    ///
    /// `failed` is called on the thread that writes, if the closure fails or is not run; as of a write that is not waited for, nobody is
    /// told if its group fails.
    ///
    /// # Errors
    /// [`KvError::Closed`]: the closure is not run.
    pub fn write<E>(
        self,
        f: impl FnOnce(&mut Transaction<'_>) -> Result<(), E> + Send + 'static,
        failed: impl FnOnce() + Send + 'static,
    ) -> Result<(), KvError> {
        let job = move |transaction: Result<Transaction<'_>, KvError>| -> Ran {
            let ran = transaction.map(|transaction| run(transaction, f));
            match ran {
                Ok((writes, Ended::Value(Ok(())))) => (writes, None),
                // A panic has been told to the panic hook, and there is nobody else to tell.
                Ok((_, Ended::Value(Err(_)) | Ended::Panic(_))) | Err(_) => {
                    failed();
                    (Batch::new(), None)
                }
            }
        };
        self.0.push_later(Job::Write(Box::new(job)))
    }
}

/// When a write is answered.
#[derive(Clone, Copy)]
enum When {
    /// Once it was run.
    Run,
    /// Once it is durable.
    Durable,
}

/// How a closure ended.
enum Ended<T, E> {
    Value(Result<T, WriteError<E>>),
    Panic(Box<dyn Any + Send>),
}

/// What a closure writes, which is nothing unless it ends well.
fn run<T, E>(
    mut transaction: Transaction<'_>,
    f: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
) -> (Batch, Ended<T, E>) {
    // Nothing is left half-way: what a panic has come across is the transaction, which goes with it.
    let result = match panic::catch_unwind(AssertUnwindSafe(|| f(&mut transaction))) {
        Ok(Ok(value)) => {
            transaction.into_writes().map(|writes| (writes, value)).map_err(WriteError::Store)
        }
        Ok(Err(error)) => Err(WriteError::Aborted(error)),
        Err(panic) => return (Batch::new(), Ended::Panic(panic)),
    };
    match result {
        Ok((writes, value)) => (writes, Ended::Value(Ok(value))),
        Err(error) => (Batch::new(), Ended::Value(Err(error))),
    }
}

/// What is committed. Each call sees one moment, and two calls may see two.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a dyn Backend);

impl Reader<'_> {
    /// The present moment, for what is read from here on.
    #[must_use]
    pub fn moment(&self) -> Generation {
        Generation::of(self.0)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The value cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.0.get(key)
    }

    /// The first `limit` entries of a range, in its order.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.0.scan(range, limit)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A closure may have had the last clone, and then this is the writer itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id())
        {
            // It catches what panics, so that there is nothing to hear from it.
            drop(writer.join());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.backend)
            .field("durability", &self.durability)
            .field("queue", &self.queue)
            .field("poisoned", &self.poison.get())
            .finish_non_exhaustive()
    }
}
