//! The guest program: process 1 of every sandbox, and the spawner that makes sandboxes.
//!
//! A static program without libc and without the standard library. The build script of this crate
//! compiles it, and the crate embeds it. It starts as `guest spawn` or `guest serve`; see
//! `agent.rs`.

#![no_std]
#![no_main]

#[path = "agent.rs"]
mod agent;
#[path = "../src/policy/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the guest does not use the reasons and names")]
mod policy;
#[path = "../src/protocol/mod.rs"]
#[expect(dead_code, reason = "the guest does not use the host's half of the protocol")]
mod protocol;
mod runtime;
