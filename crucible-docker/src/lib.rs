//! Crucible's engine of containers: Docker, Podman's compatible socket, and gVisor, without privilege and through the narrowest
//! door.
//!
//! ```no_run
//! use crucible_core::{Engine as _, Evaluation, RunContext};
//! use crucible_docker::DockerEngine;
//!
//! # async fn example() -> Result<(), crucible_core::EngineError> {
//! let engine = DockerEngine::builder().image("python:3.12-slim").build().await?;
//! let outcome = engine.run(&Evaluation::python("print(6 * 7)"), &RunContext::new()).await?;
//! assert_eq!(outcome.stdout.to_text(), "42\n");
//! # Ok(())
//! # }
//! ```
//!
//! # Core concepts
//!
//! - **The guest is process 1.** It comes from a volume that every container of the engine mounts read-only, starts the program as
//!   another user, and reports its true end. Files go in and come out through it, before and after the program, never through the
//!   daemon; its frames share one stream with nothing else, attached before the start, so that nothing is lost.
//! - **Few calls**: create, attach, start, inspect, remove; kill if need be; list by label; version, image inspect; and one archive an
//!   engine. No exec, no host path, no image build, no network, no logs. `deploy/docker-proxy` is a proxy that lets no other pass.
//! - **Fail closed.** [`DockerBuilder::build`] makes a container and looks at what it has: what the daemon says, and what the guest finds.
//!   A layer that is missing is an error. What the first container had, every other must have.
//! - **Nothing is left.** A container ends with the connection of its engine, so that a host that dies takes its programs with it. What
//!   remains of it has labels that say whose it was, and is removed by the next engine or a neighbour.
//! - **Images need nothing** but what programs need: no shell, no tools. Whatever they say of entry point, user, health checks is
//!   overridden; one that declares volumes is refused, since nothing bounds those.
//! - An engine works in any tokio runtime. It has one thread for what happens in the background.
//!
//! # What it does not protect against
//!
//! With runc the host's kernel is shared, as with any container, and there is no user namespace unless the daemon maps ids
//! (`userns-remap`). Whoever reaches the daemon's socket is root on its host: give the engine the proxy instead. See `docs/security.md`
//! and `docs/engines.md`.
//!
//! # Platforms
//!
//! The daemon runs Linux containers on x86_64. Hosts are built on Linux on x86_64: elsewhere the crate compiles without the guest
//! program, and engines say `Unsupported`.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod attachment;
mod carrier;
mod config;
mod container;
mod daemon;
mod device;
mod doctor;
mod enforcement;
mod engine;
mod error;
mod exec;
mod image;
mod keeper;
mod outputs;
mod owner;
mod policy;
mod pull;
mod reaper;
mod runtime;
mod sandbox;

pub use config::DockerBuilder;
pub use crucible_guest_client::ReadyStats;
pub use device::{DeviceRequest, Devices};
pub use doctor::doctor;
pub use engine::DockerEngine;
pub use pull::{Credentials, PullPolicy, PullProgress};
pub use runtime::Runtime;
