//! seccomp(2).

use super::errno::{Errno, Result};
use super::files::to_fd;
use super::machine::{nr, syscall};
use super::{Fd, check};

/// `struct sock_filter` (linux/filter.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

/// `struct sock_fprog` (linux/filter.h).
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const Instruction,
}

/// seccomp(2) with `SECCOMP_SET_MODE_FILTER`.
pub(crate) fn load_filter(filter: &[Instruction]) -> Result<()> {
    set_filter(filter, 0).map(drop)
}

/// The same, with a listener: a descriptor over which the kernel asks for the answers to some
/// calls.
pub(crate) fn load_filter_with_listener(filter: &[Instruction]) -> Result<Fd> {
    const NEW_LISTENER: usize = 1 << 3;
    /// After the listener has received a call, only a fatal signal interrupts it. So another signal
    /// does not make the process repeat the call, which would be counted again. Since Linux 5.19.
    const WAIT_KILLABLE_RECV: usize = 1 << 5;
    match set_filter(filter, NEW_LISTENER | WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => set_filter(filter, NEW_LISTENER),
        other => other,
    }
    .and_then(to_fd)
}

fn set_filter(filter: &[Instruction], flags: usize) -> Result<usize> {
    const SET_MODE_FILTER: usize = 1;
    let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    let program = FilterProgram { length, instructions: filter.as_ptr() };
    // SAFETY: the program points to `length` instructions, which the kernel copies and checks.
    check(unsafe {
        syscall(nr::SECCOMP, [SET_MODE_FILTER, flags, &raw const program as usize, 0, 0, 0])
    })
}
