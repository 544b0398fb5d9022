//! What no library does for us without `unsafe`.

#![expect(unsafe_code, reason = "landlock_create_ruleset(2) has no safe wrapper")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime, to wait until it can be read from. One that cannot be registered is given
/// back.
pub(super) fn watch(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>, (OwnedFd, io::Error)> {
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives. The `AsyncFd` owns it, gives out
    // shared references only, and ends the registration before it gives the descriptor back.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(|error| error.into_parts())
}

/// The version of the Landlock ABI that the kernel has; `None` if it has none, or has it switched off.
///
/// landlock_create_ruleset(2) with `LANDLOCK_CREATE_RULESET_VERSION`.
pub(super) fn landlock_abi() -> Option<u8> {
    const CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag, a null pointer and size 0 the call takes nothing from memory and makes nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u8::try_from(version).ok().filter(|version| *version > 0)
}
