//! Users, groups, capabilities and other attributes of a process.

use core::ffi::CStr;

use super::errno::Result;
use super::machine::{nr, syscall};
use super::{check, key, signed, wide};

pub(crate) const CAP_CHOWN: u32 = 0;
pub(crate) const CAP_DAC_OVERRIDE: u32 = 1;
pub(crate) const CAP_FOWNER: u32 = 3;
pub(crate) const CAP_KILL: u32 = 5;
pub(crate) const CAP_SETGID: u32 = 6;
pub(crate) const CAP_SETUID: u32 = 7;
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// `_LINUX_CAPABILITY_VERSION_3`
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// prctl(2)
fn prctl(option: usize, argument: usize) -> Result<usize> {
    // SAFETY: every option used here takes a number, or a C string that its caller keeps alive.
    check(unsafe { syscall(nr::PRCTL, [option, argument, 0, 0, 0, 0]) })
}

/// `PR_SET_PDEATHSIG`: SIGKILL when the parent ends.
pub(crate) fn die_with_parent() -> Result<()> {
    prctl(1, 9).map(drop)
}

/// `PR_SET_DUMPABLE`, 0.
pub(crate) fn set_undumpable() -> Result<()> {
    prctl(4, 0).map(drop)
}

/// `PR_SET_NAME`
pub(crate) fn set_name(name: &CStr) {
    // The name appears in process lists only, so that an error has no consequence.
    let _named = prctl(15, name.as_ptr() as usize);
}

/// `PR_CAPBSET_DROP`
pub(crate) fn drop_from_bounding_set(capability: u32) -> Result<()> {
    prctl(24, capability as usize).map(drop)
}

/// `PR_SET_SECUREBITS`
pub(crate) fn set_securebits(bits: usize) -> Result<()> {
    prctl(28, bits).map(drop)
}

/// `PR_SET_CHILD_SUBREAPER`
pub(crate) fn become_subreaper() -> Result<()> {
    prctl(36, 1).map(drop)
}

/// `PR_SET_NO_NEW_PRIVS`
pub(crate) fn set_no_new_privs() -> Result<()> {
    prctl(38, 1).map(drop)
}

/// `PR_GET_NO_NEW_PRIVS`
pub(crate) fn no_new_privs() -> Result<bool> {
    prctl(39, 0).map(|set| set == 1)
}

/// `PR_GET_SECCOMP`: 2 if the process has filters.
pub(crate) fn seccomp_mode() -> Result<u8> {
    prctl(21, 0).map(|mode| u8::try_from(mode).unwrap_or(u8::MAX))
}

/// capget(2): the union of the effective, permitted and inheritable sets.
pub(crate) fn capabilities() -> Result<u64> {
    let header = [CAPABILITY_VERSION, 0];
    let mut data = [0_u32; 6];
    // SAFETY: the header is read, and two data structures of version 3 are written.
    check(unsafe {
        syscall(nr::CAPGET, [header.as_ptr() as usize, data.as_mut_ptr() as usize, 0, 0, 0, 0])
    })?;
    let [low @ .., high_effective, high_permitted, high_inheritable] = data;
    let low = low.iter().fold(0, |all, part| all | part);
    Ok(u64::from(low) | u64::from(high_effective | high_permitted | high_inheritable) << 32)
}

/// capset(2): makes these capabilities effective and permitted, and none inheritable.
pub(crate) fn set_capabilities(set: u64) -> Result<()> {
    let header = [CAPABILITY_VERSION, 0];
    let [low, high] = [(set & 0xffff_ffff) as u32, (set >> 32) as u32];
    let data = [low, low, 0, high, high, 0];
    // SAFETY: the header and two data structures of version 3 are read.
    check(unsafe {
        syscall(nr::CAPSET, [header.as_ptr() as usize, data.as_ptr() as usize, 0, 0, 0, 0])
    })
    .map(drop)
}

/// setgroups(2) with an empty list.
pub(crate) fn drop_groups() -> Result<()> {
    // SAFETY: an empty list needs no memory.
    check(unsafe { syscall(nr::SETGROUPS, [0; 6]) }).map(drop)
}

/// setresgid(2): real, effective and saved.
pub(crate) fn set_gid(gid: u32) -> Result<()> {
    let gid = gid as usize;
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::SETRESGID, [gid, gid, gid, 0, 0, 0]) }).map(drop)
}

/// setresuid(2): real, effective and saved.
pub(crate) fn set_uid(uid: u32) -> Result<()> {
    let uid = uid as usize;
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::SETRESUID, [uid, uid, uid, 0, 0, 0]) }).map(drop)
}

/// sethostname(2)
pub(crate) fn set_host_name(name: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `len` bytes of the slice.
    check(unsafe { syscall(nr::SETHOSTNAME, [name.as_ptr() as usize, name.len(), 0, 0, 0, key()]) })
        .map(drop)
}

/// `RLIMIT_CORE`
pub(crate) const RLIMIT_CORE: u32 = 4;

/// setrlimit(2): soft and hard.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limits = [soft, hard];
    // SAFETY: the kernel reads two numbers.
    check(unsafe {
        syscall(nr::SETRLIMIT, [resource as usize, limits.as_ptr() as usize, 0, 0, 0, 0])
    })
    .map(drop)
}

/// setsid(2)
pub(crate) fn new_session() -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::SETSID, [0; 6]) }).map(drop)
}

/// setns(2)
pub(crate) fn enter_namespace(fd: super::Fd, kind: u64) -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::SETNS, [signed(fd.0), wide(kind), 0, 0, 0, key()]) }).map(drop)
}

/// unshare(2)
pub(crate) fn unshare(flags: u64) -> Result<()> {
    // SAFETY: the call accesses no memory, and no flag used here affects shared memory.
    check(unsafe { syscall(nr::UNSHARE, [wide(flags), 0, 0, 0, 0, key()]) }).map(drop)
}
