//! mount(2) and related calls.

use core::ffi::CStr;
use core::ptr;

use super::errno::Result;
use super::machine::{nr, syscall};
use super::{check, key};

pub(crate) const MS_RDONLY: usize = 1;
pub(crate) const MS_NOSUID: usize = 2;
pub(crate) const MS_NODEV: usize = 4;
pub(crate) const MS_NOEXEC: usize = 8;
pub(crate) const MS_REMOUNT: usize = 32;
pub(crate) const MS_BIND: usize = 4096;
pub(crate) const MS_REC: usize = 16384;
pub(crate) const MS_PRIVATE: usize = 1 << 18;

/// mount(2) with all its arguments. Arguments that a kind of mount ignores are null.
fn mount(
    source: *const u8,
    target: &CStr,
    kind: *const u8,
    flags: usize,
    data: *const u8,
) -> Result<()> {
    let arguments =
        [source as usize, target.as_ptr() as usize, kind as usize, flags, data as usize, key()];
    // SAFETY: all callers in this file pass pointers that are null or point to C strings that
    // outlive the call.
    check(unsafe { syscall(nr::MOUNT, arguments) }).map(drop)
}

/// Mounts a new file system.
pub(crate) fn mount_new(kind: &CStr, target: &CStr, flags: usize, options: &CStr) -> Result<()> {
    mount(kind.as_ptr().cast(), target, kind.as_ptr().cast(), flags, options.as_ptr().cast())
}

/// Binds an existing file or directory to a second path.
pub(crate) fn bind(source: &CStr, target: &CStr, flags: usize) -> Result<()> {
    mount(source.as_ptr().cast(), target, ptr::null(), MS_BIND | flags, ptr::null())
}

/// Changes the flags of an existing mount.
pub(crate) fn remount(target: &CStr, flags: usize) -> Result<()> {
    mount(ptr::null(), target, ptr::null(), MS_BIND | MS_REMOUNT | flags, ptr::null())
}

/// Makes mounts private: they no longer propagate from and to other namespaces.
pub(crate) fn make_private(target: &CStr) -> Result<()> {
    mount(ptr::null(), target, ptr::null(), MS_REC | MS_PRIVATE, ptr::null())
}

/// pivot_root(2) onto the working directory, with the old root stacked on top of the new one.
pub(crate) fn pivot_here() -> Result<()> {
    let here = c".".as_ptr() as usize;
    // SAFETY: both are a valid C string.
    check(unsafe { syscall(nr::PIVOT_ROOT, [here, here, 0, 0, 0, 0]) }).map(drop)
}

/// umount2(2) with `MNT_DETACH`.
pub(crate) fn detach(target: &CStr) -> Result<()> {
    const MNT_DETACH: usize = 2;
    // SAFETY: the target is a valid C string.
    check(unsafe { syscall(nr::UMOUNT2, [target.as_ptr() as usize, MNT_DETACH, 0, 0, 0, 0]) })
        .map(drop)
}

/// chdir(2)
pub(crate) fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the path is a valid C string.
    check(unsafe { syscall(nr::CHDIR, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) }).map(drop)
}

pub(crate) const MOUNT_ATTR_RDONLY: u64 = 1;
pub(crate) const MOUNT_ATTR_NOSUID: u64 = 2;
pub(crate) const MOUNT_ATTR_NODEV: u64 = 4;
pub(crate) const MOUNT_ATTR_NOEXEC: u64 = 8;

/// mount_setattr(2): sets these flags for the mount and for all mounts beneath it.
pub(crate) fn restrict_mounts(target: &CStr, attributes: u64) -> Result<()> {
    const AT_FDCWD: isize = -100;
    const AT_RECURSIVE: usize = 0x8000;
    /// `struct mount_attr`
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attributes =
        MountAttributes { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    let pointer = &raw const attributes as usize;
    let size = size_of::<MountAttributes>();
    let arguments = [AT_FDCWD as usize, target.as_ptr() as usize, AT_RECURSIVE, pointer, size, 0];
    // SAFETY: the target is a valid C string, and the kernel reads a structure of the given size.
    check(unsafe { syscall(nr::MOUNT_SETATTR, arguments) }).map(drop)
}
