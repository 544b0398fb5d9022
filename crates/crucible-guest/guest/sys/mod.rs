//! System calls, one a function. Nothing above this module is unsafe, but for the handful of places that start a child.

mod files;
mod identity;
mod key;
mod layers;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
pub(crate) mod machine;
mod mounts;
mod network;
mod process;
mod socket;

pub(crate) use files::*;
pub(crate) use identity::*;
use key::key;
pub(crate) use key::{forget_key, hide_key, make_key, recall_key};
pub(crate) use layers::*;
pub(crate) use mounts::*;
pub(crate) use network::*;
pub(crate) use process::*;
pub(crate) use socket::*;

use super::errno::{Errno, Result};

/// Turns what the kernel returns into a result: -4095 to -1 are error numbers.
fn check(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Errno(i32::try_from(-result).unwrap_or(i32::MAX)))
}

/// A number of 64 bits, as an argument of a system call.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the guest runs on machines whose registers have 64 bits"
)]
fn wide(number: u64) -> usize {
    number as usize
}

/// The bits of a signed number, as an argument of a system call.
fn signed(number: i32) -> usize {
    number as isize as usize
}
