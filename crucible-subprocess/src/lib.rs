//! Crucible's engine of sandboxed Linux subprocesses.
//!
//! Each program runs in its own user, mount, pid, network, IPC, UTS and cgroup namespaces, with a
//! read-only root file system and bounded writable directories. It has no capability, and runs
//! under a system call filter, a Landlock ruleset, and cgroups that limit and count. The engine
//! needs no daemon, no image and no set-user-id helper.
//!
//! ```no_run
//! use crucible_core::{Engine as _, Evaluation, RunContext};
//! use crucible_subprocess::SubprocessEngine;
//!
//! # async fn example() -> Result<(), crucible_core::EngineError> {
//! let engine = SubprocessEngine::new()?;
//! let outcome = engine.run(&Evaluation::python("print(6 * 7)"), &RunContext::new()).await?;
//! assert_eq!(outcome.stdout.to_text(), "42\n");
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **[`SubprocessEngine`]** is a handle of one *spawner*: a small process that starts once, lives
//!   in
//!   the root file system that sandboxes inherit, and forks a guest agent for each sandbox. So the
//!   host's memory and open files are never in a sandbox. Creating an engine blocks for a few
//!   milliseconds.
//! - **Fail closed.** [`SubprocessEngine::new`] fails if any layer is unavailable. The error names
//!   every missing layer and its fix. [`SubprocessBuilder::waive`] disables a layer by name, and
//!   every outcome then reports it as *off*. [`doctor`] reports what this host offers.
//! - **Cleanup.** When the host ends, for whatever reason, the spawner ends, and with it every
//!   guest
//!   and every process in the guests' pid namespaces. The next engine removes the cgroups of a dead
//!   host.
//! - An engine works in any tokio runtime, and in several one after another.
//!
//! # Limits of protection
//!
//! Programs share the host's kernel. A kernel bug that the remaining system calls can reach is a
//! way out of the sandbox. Timing and other side channels between programs on one machine are open.
//! See `docs/security.md`.
//!
//! # Platforms
//!
//! Linux 5.13 or later on x86_64. On other platforms the crate compiles, and
//! [`SubprocessEngine::new`] returns `Unsupported`.

#![deny(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod config;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;
mod resolver;
mod root_fs;
mod slot_sharing;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod unsupported;

pub use config::SubprocessBuilder;
pub use crucible_guest_client::ReadyStats;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use linux::{SubprocessEngine, doctor};
pub use resolver::Resolver;
pub use root_fs::RootFs;
pub use slot_sharing::SlotSharing;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub use unsupported::{SubprocessEngine, doctor};

/// The engine's name in reports and errors.
const ENGINE_NAME: &str = "subprocess";
