//! Crucible's engine of sandboxed Linux subprocesses.
//!
//! Every program runs in user, mount, pid, network, IPC, UTS and cgroup namespaces of its own, with a read-only root
//! file system, bounded places to write to, no capability, a system call filter, a Landlock ruleset, and cgroups that
//! limit and count. No daemon, no image, no set-user-id helper.
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
//! - **[`SubprocessEngine`]** is a handle on one *spawner*: a small process, started once, that lives in the root file
//!   system which sandboxes inherit, and forks a guest agent for each. The host's memory and open files are never in a
//!   sandbox, and cost nothing. Making an engine takes a few milliseconds and blocks for them.
//! - **Fail closed.** [`SubprocessEngine::new`] refuses to make an engine that would lack a layer, with an error that
//!   names every missing layer and what mends it. [`SubprocessBuilder::waive`] gives a layer up by name; then it is
//!   *off*, and every outcome says so. [`doctor`] says what this host offers.
//! - **Nothing is left.** When the host ends, however it ends, the spawner ends, and with it every guest and everything
//!   in its process namespace. What a dead host left in the cgroup tree is removed by the next engine.
//! - An engine works in any tokio runtime, and in several one after another.
//!
//! # What it does not protect against
//!
//! Programs share the host's kernel: a bug in it that can be reached through the system calls that are left is a way
//! out. Timing and other side channels between programs on one machine are open. See `docs/security.md`.
//!
//! # Platforms
//!
//! Linux 5.13 or later on x86_64. Elsewhere the crate compiles and [`SubprocessEngine::new`] says `Unsupported`.

#![deny(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod config;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "linux/mod.rs"]
mod os;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "unsupported.rs"]
mod os;
mod resolver;
mod root_fs;

pub use config::{SlotSharing, SubprocessBuilder};
pub use crucible_guest_client::ReadyStats;
pub use os::{SubprocessEngine, doctor};
pub use resolver::Resolver;
pub use root_fs::RootFs;
