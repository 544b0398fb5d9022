//! The guest agent, without its runtime: what the guest program does, in code that can be tested.
//!
//! Two roles. `spawn`: a factory of sandboxes, one an engine, outside every sandbox. `serve`: process 1 of a sandbox.
//! A sandbox that the spawner opens goes straight on to serving; `serve` as a role of its own is for containers, where
//! whatever makes the container starts the guest.

mod arguments;
mod bpf;
mod cgroup;
mod container;
mod control;
mod disk;
mod door;
mod errno;
mod files;
mod landlock;
mod memory;
mod number;
mod oom;
mod open;
mod path;
mod reap;
mod sandbox;
mod seccomp;
mod serve;
mod slot;
mod spawn;
mod streams;
pub(crate) mod sys;
mod target;
mod template;
mod usage;

pub(crate) use arguments::Arguments;

/// Exit status: nobody said what to do.
const USAGE: i32 = 64;

/// Runs the role that the arguments name.
pub(crate) fn main(arguments: Arguments) -> ! {
    match arguments.get(1) {
        Some(b"spawn") => spawn::main(),
        Some(b"serve") => container::main(&arguments),
        _ => sys::exit(USAGE),
    }
}
