//! seccomp(2) and landlock(7).

use core::ffi::CStr;

use super::files::to_fd;
use super::machine::{nr, syscall};
use super::{Fd, check, signed};
use crate::agent::bpf::Instruction;
use crate::agent::errno::{Errno, Result};

/// `struct sock_fprog` (linux/filter.h).
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// seccomp(2) with `SECCOMP_SET_MODE_FILTER`.
pub(crate) fn load_filter(filter: &[Instruction]) -> Result<()> {
    set_filter(filter, 0).map(drop)
}

/// The same, with a descriptor over which the kernel asks what to answer to calls that the filter leaves open.
pub(crate) fn load_filter_with_listener(filter: &[Instruction]) -> Result<Fd> {
    const NEW_LISTENER: usize = 1 << 3;
    /// Once a call has been heard of, only what ends its process interrupts it: it is not made, and counted, again after
    /// a signal. Since Linux 5.19.
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
    let program = Program { length, instructions: filter.as_ptr() };
    // SAFETY: the program points to `length` instructions, which the kernel copies and checks.
    check(unsafe {
        syscall(nr::SECCOMP, [SET_MODE_FILTER, flags, &raw const program as usize, 0, 0, 0])
    })
}

/// `struct landlock_ruleset_attr` (linux/landlock.h): as much of it as the ABI has.
#[repr(C)]
pub(crate) struct RulesetAttributes {
    pub(crate) file_system: u64,
    pub(crate) network: u64,
    pub(crate) scoped: u64,
}

/// landlock_create_ruleset(2) with `LANDLOCK_CREATE_RULESET_VERSION`: which ABI the kernel has.
pub(crate) fn landlock_abi() -> Result<usize> {
    const VERSION: usize = 1;
    // SAFETY: for this flag there is no structure.
    check(unsafe { syscall(nr::LANDLOCK_CREATE_RULESET, [0, 0, VERSION, 0, 0, 0]) })
}

/// landlock_create_ruleset(2)
pub(crate) fn create_ruleset(attributes: &RulesetAttributes, size: usize) -> Result<Fd> {
    if size > size_of::<RulesetAttributes>() {
        return Err(Errno::INVAL);
    }
    let arguments = [&raw const *attributes as usize, size, 0, 0, 0, 0];
    // SAFETY: the kernel reads `size` bytes of the structure, which has at least as many.
    check(unsafe { syscall(nr::LANDLOCK_CREATE_RULESET, arguments) }).and_then(to_fd)
}

/// landlock_add_rule(2) for everything beneath a directory.
pub(crate) fn allow_beneath(ruleset: Fd, directory: &CStr, access: u64) -> Result<()> {
    /// `struct landlock_path_beneath_attr`: packed.
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const RULE_PATH_BENEATH: usize = 1;
    let parent = super::open(directory, super::O_PATH | super::O_CLOEXEC, 0)?;
    let rule = PathBeneath { access, parent: parent.0 };
    let arguments = [signed(ruleset.0), RULE_PATH_BENEATH, &raw const rule as usize, 0, 0, 0];
    // SAFETY: the kernel reads the structure of this rule type.
    let added = check(unsafe { syscall(nr::LANDLOCK_ADD_RULE, arguments) });
    super::close(parent);
    added.map(drop)
}

/// landlock_add_rule(2) for connections to a TCP port.
pub(crate) fn allow_connect(ruleset: Fd, port: u16) -> Result<()> {
    /// `struct landlock_net_port_attr`
    #[repr(C)]
    struct NetPort {
        access: u64,
        port: u64,
    }
    const RULE_NET_PORT: usize = 2;
    const CONNECT_TCP: u64 = 1 << 1;
    let rule = NetPort { access: CONNECT_TCP, port: u64::from(port) };
    let arguments = [signed(ruleset.0), RULE_NET_PORT, &raw const rule as usize, 0, 0, 0];
    // SAFETY: the kernel reads the structure of this rule type.
    check(unsafe { syscall(nr::LANDLOCK_ADD_RULE, arguments) }).map(drop)
}

/// landlock_restrict_self(2)
pub(crate) fn restrict_self(ruleset: Fd) -> Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { syscall(nr::LANDLOCK_RESTRICT_SELF, [signed(ruleset.0), 0, 0, 0, 0, 0]) })
        .map(drop)
}
