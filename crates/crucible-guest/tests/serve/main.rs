//! The guest program in its role `serve`, over two pipes, as a container's host drives it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unwrap_used, reason = "in a test it is how a failure is reported")]

mod commands;
mod endings;
mod files;
mod guest;
mod requests;
mod streams;
