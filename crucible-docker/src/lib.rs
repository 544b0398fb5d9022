//! Crucible's container engine: Docker, Podman's compatible socket, and gVisor, without privileges
//! and with few calls.
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
//! - **The guest is process 1.** Every container of the engine mounts a volume with the guest
//!   program read-only. The guest starts the program as another user, and reports how it ended.
//!   Files go in and come out through the guest, before and after the program, never through the
//!   daemon. The engine attaches to the container before the start, so no frame is lost.
//! - **Few calls.** Per container: create, attach, start, inspect, remove, and sometimes kill.
//!   Besides: list by label, version, image inspect, and one archive upload per engine. No exec, no
//!   host path, no image build, no network, no logs. `deploy/docker-proxy` contains a proxy that
//!   refuses all other calls.
//! - **Fail closed.** [`DockerBuilder::build`] starts a container, and compares the daemon's report
//!   with the guest's. A missing layer is an error. Every later container must have the layers of
//!   the first one.
//! - **Nothing stays behind.** A container ends with the connection of its engine, so a host that
//!   dies takes its programs with it. The stopped container has labels that name its owner. The
//!   next engine or a neighbouring one removes it.
//! - **Images need nothing** besides what programs need: no shell, no tools. The engine overrides
//!   the image's entry point, user and health check. It refuses an image that declares volumes,
//!   because nothing limits their size.
//! - An engine works in any tokio runtime. It has one thread for background work.
//!
//! # Limits of the protection
//!
//! With runc, containers share the host's kernel. There is no user namespace unless the daemon maps
//! ids (`userns-remap`). A process with access to the daemon's socket is root on its host: give the
//! engine the proxy instead. See `docs/security.md` and `docs/engines.md`.
//!
//! # Platforms
//!
//! The daemon runs Linux containers on x86_64. The guest program is built on Linux on x86_64.
//! Elsewhere the crate compiles without it, and building an engine returns `Unsupported`.

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

mod background;
mod config;
mod connection;
mod container;
mod docker_builder;
mod doctor;
mod engine;
mod exec;
mod image;
mod ownership;
mod sandbox;

pub use config::{Credentials, DeviceRequest, Devices, PullPolicy, PullProgress, Runtime};
pub use crucible_guest_client::ReadyStats;
pub use docker_builder::DockerBuilder;
pub use doctor::doctor;
pub use engine::DockerEngine;
