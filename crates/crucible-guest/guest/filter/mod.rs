//! The seccomp filter.

mod bpf;
#[cfg(test)]
mod bpf_machine;
mod compiler;
mod syscall_filter;
#[cfg(test)]
mod tests;

pub(crate) use syscall_filter::{SocketPolicy, load, load_without_listener};
