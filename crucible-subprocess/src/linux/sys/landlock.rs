//! The kernel's Landlock version.

#![expect(unsafe_code, reason = "landlock_create_ruleset(2) has no safe wrapper")]

/// Returns the version of the kernel's Landlock ABI, or `None` if Landlock is missing or disabled.
///
/// landlock_create_ruleset(2) with `LANDLOCK_CREATE_RULESET_VERSION`.
pub(crate) fn landlock_abi() -> Option<u8> {
    const CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag, a null pointer and size 0, the call reads no memory and creates
    // nothing.
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
