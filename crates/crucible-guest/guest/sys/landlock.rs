//! landlock(7).

use core::ffi::CStr;

use super::errno::{Errno, Result};
use super::files::to_fd;
use super::machine::{nr, syscall};
use super::{Fd, check, signed};

/// `struct landlock_ruleset_attr` (linux/landlock.h): its length depends on the ABI.
#[repr(C)]
pub(crate) struct RulesetAttributes {
    pub(crate) file_system: u64,
    pub(crate) network: u64,
    pub(crate) scoped: u64,
}

/// landlock_create_ruleset(2) with `LANDLOCK_CREATE_RULESET_VERSION`: returns the kernel's ABI
/// version.
pub(crate) fn landlock_abi() -> Result<usize> {
    const VERSION: usize = 1;
    // SAFETY: with this flag the call accesses no memory.
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
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::LANDLOCK_RESTRICT_SELF, [signed(ruleset.0), 0, 0, 0, 0, 0]) })
        .map(drop)
}
