//! The guest program: process 1 of every sandbox, and the spawner that makes sandboxes.
//!
//! A static program without libc and without the standard library, compiled by the build script of this crate and
//! embedded in it. Started as `guest spawn` or `guest serve`; see `agent.rs`.

#![no_std]
#![no_main]

#[path = "agent.rs"]
mod agent;
#[path = "../src/policy/mod.rs"]
#[expect(dead_code, unused_imports, reason = "reasons and names are for the host")]
mod policy;
#[path = "../src/protocol/mod.rs"]
#[expect(dead_code, reason = "the host's half of the protocol is not used here")]
mod protocol;
mod runtime;
