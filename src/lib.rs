//! Run programs that nobody trusts, in real isolation, and learn truthfully what came of them.
//!
//! Crucible is a library: no daemon, no service, no image. A host composes an engine, a queue, a storage, a bus and
//! monitors through one builder, submits [`Evaluation`]s, and gets [`Outcome`]s: a [`Verdict`] with the [`Evidence`] for
//! it, what was written, what was used, and what isolated it.
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
//! # Core concepts
//!
//! - **[`Crucible`]** is the platform: a pool of workers over the queue. Cheap to clone, shared between threads, and ended
//!   with its last clone. It runs on the tokio runtime in which it was built; hosts without one use [`blocking`].
//! - **[`Engine`]** makes sandboxes. [`SubprocessEngine`] isolates Linux processes by namespaces, seccomp, Landlock and
//!   cgroups; it refuses to start without a layer unless the host waives the layer by name.
//! - **[`Evaluation`]** says what to run: a command, or source in a [`Language`]; with files, input, [`Limits`]. Closed by
//!   default: no network, no environment.
//! - **[`Outcome`]** is what the *program* did, whatever it did. An error is what the *infrastructure* or the *caller* did.
//! - **[`Sandbox`]** is an open place in which several commands run one after another, for agents: [`Crucible::open`].
//! - **[`Storage`]** keeps a hash-chained journal for each evaluation; **[`Queue`]** says what is next; **[`EventBus`]** and
//!   **[`Monitor`]** tell what happens.
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `subprocess` | yes | [`SubprocessEngine`]: sandboxed Linux subprocesses |
//! | `memory` | yes | [`MemoryQueue`], [`MemoryStorage`] |
//! | `durable` | yes | `DataDirectory`, `Crucible::embedded`: everything in one directory, across restarts; `checkpoint` |
//! | `docker` | no | `DockerEngine`, [`docker`](mod@docker): containers, with runc or gVisor |
//! | `testing` | no | `crucible::testing`: a scripted engine that isolates nothing, and fault-injecting wrappers |
//!
//! # What it does not protect against
//!
//! A bug in the kernel that the remaining system calls reach; side channels between programs on one machine; a program
//! that fools whatever grades its output. `docs/security.md` says more.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

pub mod blocking;
#[cfg(feature = "durable")]
mod data_directory;
#[cfg(all(feature = "durable", feature = "subprocess"))]
mod embedded;

#[doc(inline)]
pub use crucible_core::*;
#[cfg(feature = "docker")]
pub mod docker {
    //! The engine of containers: Docker, Podman, gVisor.

    #[doc(inline)]
    pub use crucible_docker::{
        Credentials, DeviceRequest, Devices, DockerBuilder, DockerEngine, PullPolicy, PullProgress,
        ReadyStats, Runtime, doctor,
    };
}
#[cfg(feature = "docker")]
#[doc(inline)]
pub use crucible_docker::DockerEngine;
#[cfg(feature = "durable")]
#[doc(inline)]
pub use crucible_kv::{Durability, KvError};
#[cfg(feature = "memory")]
#[doc(inline)]
pub use crucible_queue::MemoryQueue;
#[cfg(feature = "durable")]
#[doc(inline)]
pub use crucible_queue::{DurableQueue, DurableQueueOptions};
#[cfg(feature = "durable")]
#[doc(inline)]
pub use crucible_storage::DurableStorage;
#[cfg(feature = "memory")]
#[doc(inline)]
pub use crucible_storage::MemoryStorage;
#[cfg(feature = "subprocess")]
#[doc(inline)]
pub use crucible_subprocess::{Resolver, RootFs, SubprocessBuilder, SubprocessEngine, doctor};
#[cfg(feature = "durable")]
pub use data_directory::{
    CloseDirectoryError, DEFAULT_CAPACITY, DataDirectory, DataDirectoryOptions, OpenDirectoryError,
};
#[cfg(all(feature = "durable", feature = "subprocess"))]
pub use embedded::{Embedded, EmbeddedError};
