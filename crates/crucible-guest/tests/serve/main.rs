//! Tests of the guest program in its role `serve`, over two pipes, as in a container.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports a failure")]

mod commands;
mod endings;
mod files;
mod guest;
mod requests;
mod streams;
