//! Runs untrusted programs in real isolation and reports truthfully what happened.
//!
//! Crucible is a library: it needs no daemon, no service and no image. A host composes an engine, a
//! queue, a storage, a bus and monitors through one builder and submits [`Evaluation`]s. It
//! receives [`Outcome`]s: a [`Verdict`] with the [`Evidence`](result::Evidence) for it, the captured
//! output, the resource usage, and the isolation layers in force.
//!
//! ```no_run
//! use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, SubprocessEngine};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let crucible = Crucible::builder()
//!     .engine("sandbox", SubprocessEngine::new()?)
//!     .queue(MemoryQueue::bounded(10_000))
//!     .storage(MemoryStorage::new())
//!     .workers(8)
//!     .build()?;
//! let outcome = crucible.evaluate(Evaluation::python("print(6 * 7)")).await?;
//! assert_eq!(outcome.stdout.to_text(), "42\n");
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! - **[`Crucible`]** is the platform: a pool of workers over the queue. It is cheap to clone and
//!   shared between threads. It shuts down when its last clone is dropped. It runs on the tokio
//!   runtime that built it; hosts without tokio use [`blocking`].
//! - **[`Engine`]** opens sandboxes. [`SubprocessEngine`] isolates Linux processes by namespaces,
//!   seccomp, Landlock and cgroups. It refuses to start without a layer unless the host waives the
//!   layer by name.
//! - **[`Evaluation`]** describes a run: a command, or source in a [`Language`], with files, input
//!   and [`Limits`]. By default it has no network and no environment.
//! - **[`Outcome`]** is the behaviour of the *program*, good or bad. An error is a failure of the
//!   *infrastructure* or a mistake of the *caller*.
//! - **[`Sandbox`]** is an open sandbox in which several commands run one after another, for
//!   agents: [`Crucible::open`].
//! - **[`Storage`](storage::Storage)** keeps a hash-chained journal for each evaluation. The
//!   **[`Queue`](queue::Queue)** orders the work. The **[`EventBus`](bus::EventBus)** and
//!   **[`Monitor`](monitor::Monitor)**s report events.
//!
//! # Modules
//!
//! The names of a first program are at the root. Each other name is in the module of its concern.
//!
//! | module | content |
//! | --- | --- |
//! | [`model`] | evaluations: programs, languages, limits, network policies, identifiers |
//! | [`result`] | outcomes: verdicts, evidence, captured output, usage, enforcement |
//! | [`journal`] | events, records, and their verification |
//! | `checkpoint` | signed Merkle roots over all journals, and proofs of inclusion |
//! | [`engine`] | the `Engine` and `Sandbox` traits and their errors |
//! | [`subprocess`], `docker` | the two engines |
//! | [`storage`], [`queue`], [`bus`], [`monitor`] | the other traits and their implementations |
//! | [`platform`] | the builder, handles, shutdown, retention |
//! | [`blocking`] | the platform for hosts without tokio |
//! | `testing` | a scripted engine and wrappers that inject faults |
//!
//! # Features
//!
//! | feature | default | content |
//! | --- | --- | --- |
//! | `subprocess` | yes | [`SubprocessEngine`]: sandboxed Linux subprocesses |
//! | `memory` | yes | [`MemoryQueue`], [`MemoryStorage`] |
//! | `durable` | yes | [`Embedded`], `DataDirectory`: a platform in one directory |
//! | `docker` | no | `docker::DockerEngine`: containers, with runc or gVisor |
//! | `sled` | no | sled as another store of a data directory |
//! | `testing` | no | `testing`: for tests only |
//!
//! # Limits of protection
//!
//! Crucible does not protect against kernel bugs that the remaining system calls reach, or against
//! side channels between programs on one machine. It does not protect against a program that
//! deceives the grader of its output. `docs/security.md` has the details.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

pub mod blocking;
#[cfg(feature = "durable")]
mod data_directory;
#[cfg(all(feature = "durable", feature = "subprocess"))]
mod embedded;
#[cfg(all(doctest, feature = "durable", feature = "memory", feature = "subprocess"))]
mod guide;

#[cfg(feature = "durable")]
#[doc(inline)]
pub use crucible_core::checkpoint;
#[cfg(feature = "testing")]
#[doc(inline)]
pub use crucible_core::testing;
#[doc(inline)]
pub use crucible_core::{bus, engine, journal, model, monitor, platform, result};

pub mod queue {
    //! The `Queue` trait and the queues inside one process.

    #[doc(inline)]
    pub use crucible_core::queue::{Claim, Queue, QueueError, QueueErrorKind, QueueStats, Ticket};
    #[cfg(feature = "memory")]
    #[doc(inline)]
    pub use crucible_queue::MemoryQueue;
    #[cfg(feature = "durable")]
    #[doc(inline)]
    pub use crucible_queue::{DurableQueue, DurableQueueOptions};
}

pub mod storage {
    //! The `Storage` trait, the storages inside one process, and data directories.

    #[doc(inline)]
    pub use crucible_core::storage::{
        CorruptRecord, RecordOrCorrupt, RecordPage, RecordQuery, Storage, StorageError,
        StorageErrorKind, StorageExt, Verification, verify_storage,
    };
    #[cfg(feature = "durable")]
    #[doc(inline)]
    pub use crucible_kv::{Durability, KvError};
    #[cfg(feature = "durable")]
    #[doc(inline)]
    pub use crucible_storage::DurableStorage;
    #[cfg(feature = "memory")]
    #[doc(inline)]
    pub use crucible_storage::MemoryStorage;

    #[cfg(feature = "durable")]
    pub use crate::data_directory::{
        CloseDirectoryError, DEFAULT_CAPACITY, DataDirectory, DataDirectoryOptions,
        OpenDirectoryError,
    };
}

#[cfg(feature = "subprocess")]
pub mod subprocess {
    //! The engine of sandboxed Linux subprocesses.

    #[doc(inline)]
    pub use crucible_subprocess::{Resolver, RootFs, SubprocessBuilder, SubprocessEngine, doctor};
}

#[cfg(feature = "docker")]
pub mod docker {
    //! The engine of containers: Docker, Podman, gVisor.

    #[doc(inline)]
    pub use crucible_docker::{
        Credentials, DeviceRequest, Devices, DockerBuilder, DockerEngine, PullPolicy, PullProgress,
        ReadyStats, Runtime, doctor,
    };
}

#[doc(no_inline)]
pub use engine::{Engine, Sandbox, SandboxSpec};
#[doc(no_inline)]
pub use model::{Evaluation, Language, Limits, Network};
#[doc(no_inline)]
pub use platform::{Crucible, Handle};
#[cfg(feature = "memory")]
#[doc(no_inline)]
pub use queue::MemoryQueue;
#[doc(no_inline)]
pub use result::{Outcome, Verdict};
#[cfg(feature = "memory")]
#[doc(no_inline)]
pub use storage::MemoryStorage;
#[cfg(feature = "subprocess")]
#[doc(no_inline)]
pub use subprocess::SubprocessEngine;

#[cfg(all(feature = "durable", feature = "subprocess"))]
pub use embedded::{Embedded, EmbeddedError};
