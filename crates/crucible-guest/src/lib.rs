//! Process 1 of every Crucible sandbox, and the protocol to it.
//!
//! The *guest* is a small static program without libc and without the standard library. The build script compiles it,
//! and this crate embeds it: [`BINARY`]. An engine starts it inside a sandbox as the first process. It starts the
//! program that nobody trusts as another, unprivileged user, forwards its streams, reaps every orphan, measures,
//! enforces the deadline from inside too, and reports how the program truly ended.
//!
//! [`policy`] is what the seccomp filter refuses, and why. The *host's half* is [`protocol`]: frames over a stream, encoded and decoded without trusting a byte of them. It does
//! no input or output of its own.
//!
//! # Why a process 1 of our own
//!
//! - A program that is process 1 cannot die by most signals, so verdicts about it would lie.
//! - Starting a static program of a few dozen pages takes a fifth of the time of one with a libc.
//! - The host's memory is never in the child: the host does not fork.
//! - One protocol to test and to fuzz, whatever boots the sandbox.
//!
//! # Platforms
//!
//! Linux on x86_64. Elsewhere the crate compiles, and [`BINARY`] is `None`.

pub mod policy;
pub mod protocol;

/// The guest program, an ELF executable; `None` on a platform that it does not know.
#[cfg(has_guest)]
pub const BINARY: Option<&[u8]> = Some(include_bytes!(env!("CRUCIBLE_GUEST")));
/// The guest program, an ELF executable; `None` on a platform that it does not know.
#[cfg(not(has_guest))]
pub const BINARY: Option<&[u8]> = None;

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
#[path = "../guest/agent.rs"]
#[expect(
    dead_code,
    reason = "the tests call parts of the guest; its entry point is in the program alone"
)]
mod agent;
