//! System calls, one per function. Outside of this module `unsafe` is limited to a few places that
//! start a child.

mod clone;
mod errno;
mod files;
mod identity;
mod key;
mod landlock;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
pub(crate) mod machine;
mod mounts;
mod network;
mod path;
mod process;
mod seccomp;
mod signals;
mod socket;

pub(crate) use clone::*;
pub(crate) use errno::*;
pub(crate) use files::*;
pub(crate) use identity::*;
use key::key;
pub(crate) use key::{erase_key, generate_key, load_key_from_pipe, store_key_in_pipe};
pub(crate) use landlock::*;
pub(crate) use mounts::*;
pub(crate) use network::*;
pub(crate) use path::*;
pub(crate) use process::*;
pub(crate) use seccomp::*;
pub(crate) use signals::*;
pub(crate) use socket::*;

/// Converts the kernel's return value: -4095 to -1 are error numbers.
fn check(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Errno(i32::try_from(-result).unwrap_or(i32::MAX)))
}

/// Returns a number of 64 bits as an argument of a system call.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the guest runs on machines whose registers have 64 bits"
)]
fn wide(number: u64) -> usize {
    number as usize
}

/// Returns the bits of a signed number as an argument of a system call.
fn signed(number: i32) -> usize {
    number as isize as usize
}
