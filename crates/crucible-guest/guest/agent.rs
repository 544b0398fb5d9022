//! The guest agent without its runtime, so that tests can call its parts.
//!
//! It has two roles. `spawn` is the spawner: it makes sandboxes for one engine and runs outside all
//! of them. `serve` is process 1 of a container, which a container runtime starts. A sandbox that
//! the spawner opens continues in the same program, without another exec.

mod arguments;
mod capabilities;
mod container;
mod container_cgroup;
mod decimal;
mod directory_entries;
mod egress_listener;
mod exec_request;
mod exit_report;
mod factory;
mod file_server;
mod filter;
mod frame_batch;
mod framed_streams;
mod guest;
mod host_channel;
mod landlock;
mod oom_score;
mod proc_usage;
mod reap;
mod root_template;
mod running_command;
mod sandbox;
mod sandbox_fds;
mod slot_server;
mod spawner;
mod static_cell;
mod step_error;
pub(crate) mod sys;
mod target;
mod target_context;
mod target_launcher;
mod writable_mounts;

pub(crate) use arguments::Arguments;

/// The exit status for arguments that name no role.
const USAGE: i32 = 64;

/// Runs the role that the arguments name.
pub(crate) fn main(arguments: Arguments) -> ! {
    match arguments.get(1) {
        Some(b"spawn") => spawner::main(),
        Some(b"serve") => container::main(&arguments),
        _ => sys::exit(USAGE),
    }
}
