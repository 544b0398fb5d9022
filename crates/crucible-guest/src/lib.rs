//! Process 1 of every Crucible sandbox, and the protocol to it.
//!
//! The *guest* is a small static program without libc and without the standard library. The build
//! script compiles it, and this crate embeds it as [`BINARY`]. An engine starts it as the first
//! process of a sandbox. The guest starts the untrusted program under another, unprivileged user
//! id, forwards its streams, and reaps orphans. It measures the program, enforces the deadline from
//! inside as well, and reports the program's ending.
//!
//! - [`policy`] lists the system calls that the seccomp filter refuses, and the reasons.
//! - [`protocol`] encodes and decodes the frames between host and guest. It trusts no byte of its
//!   input, and performs no input or output of its own.
//!
//! # Why a separate process 1
//!
//! - Most signals cannot kill a program that is process 1, so that verdicts about it would be
//!   wrong.
//! - A static program of a few dozen pages starts in a fifth of the time of a program with a libc.
//! - The host does not fork, so that the child never contains the host's memory.
//! - All engines share one protocol, which is tested and fuzzed.
//!
//! # Platforms
//!
//! Linux on x86_64. Elsewhere the crate compiles, and [`BINARY`] is `None`.

pub mod policy;
pub mod protocol;

/// The guest program, an ELF executable; `None` on a platform that it does not support.
#[cfg(has_guest)]
pub const BINARY: Option<&[u8]> = Some(include_bytes!(env!("CRUCIBLE_GUEST")));
/// The guest program, an ELF executable; `None` on a platform that it does not support.
#[cfg(not(has_guest))]
pub const BINARY: Option<&[u8]> = None;

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
#[path = "../guest/agent.rs"]
#[expect(
    dead_code,
    reason = "the tests call parts of the guest, and only the program has an entry point"
)]
mod agent;
