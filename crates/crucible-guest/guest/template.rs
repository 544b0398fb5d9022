//! The root file system of every sandbox: built once, in the spawner's own mount namespace, then entered for good.
//!
//! What a sandbox inherits from here is locked: the kernel does not let a less privileged mount namespace make it
//! writable again, or look beneath it (mount_namespaces(7)). The spawner keeps few mounts, because each is copied for
//! each sandbox.

use core::ffi::CStr;

use super::errno::{Errno, Result};
use super::number::Text;
use super::path::c_str;
use super::spawn::{At as _, StepError};
use super::sys::{
    self, CLONE_NEWNS, CLONE_NEWUSER, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, O_APPEND,
    O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_WRONLY,
};
use crate::protocol::{Init, InitFlags, Step, TemplateOp};

/// Where the template's `/dev` is: a file system of its own, since the root's has no devices.
const DEV: &CStr = c"dev";

/// A template under construction. The working directory is its root.
pub(crate) struct Template {
    flags: InitFlags,
}

impl Template {
    /// Makes the spawner's namespaces, and an empty root.
    pub(crate) fn begin(init: &Init<'_>) -> core::result::Result<Self, StepError> {
        let own_user_namespace = init.flags.has(InitFlags::OWN_USER_NAMESPACE);
        let flags = if own_user_namespace { CLONE_NEWNS | CLONE_NEWUSER } else { CLONE_NEWNS };
        sys::unshare(flags).at(Step::SPAWNER_NAMESPACES)?;
        if own_user_namespace {
            write_own_maps(init.uid, init.gid).at(Step::SPAWNER_MAPS)?;
        }
        sys::make_private(c"/").at(Step::SPAWNER_PRIVATE)?;
        empty_root(init.mount_point).at(Step::TEMPLATE)?;
        Ok(Self { flags: init.flags })
    }

    /// Carries out one operation.
    pub(crate) fn apply(&self, op: &TemplateOp<'_>) -> Result<()> {
        match *op {
            TemplateOp::Directory { path, mode } => sys::mkdir(c_str(path)?, mode),
            TemplateOp::Link { path, target } => sys::symlink(c_str(target)?, c_str(path)?),
            TemplateOp::File { path, mode, data } => append(c_str(path)?, mode, data),
            TemplateOp::Bind { source, path } => show(c_str(source)?, c_str(path)?, true),
            TemplateOp::Device { source, path, major, minor } => {
                let path = c_str(path)?;
                if self.flags.has(InitFlags::OWN_USER_NAMESPACE) {
                    append(path, 0o666, &[])?;
                    return show(c_str(source)?, path, false);
                }
                sys::make_device(path, major, minor)?;
                sys::chmod(path, 0o666)
            }
            TemplateOp::Proc { path } => show_proc(c_str(path)?),
        }
    }

    /// Makes the root read-only and enters it; nothing else can be reached from then on.
    pub(crate) fn seal(self) -> core::result::Result<InitFlags, StepError> {
        sys::remount(DEV, MS_RDONLY | MS_NOSUID | MS_NOEXEC).at(Step::TEMPLATE)?;
        sys::remount(c".", MS_RDONLY | MS_NOSUID | MS_NODEV).at(Step::TEMPLATE)?;
        sys::pivot_here().at(Step::PIVOT)?;
        // The old root lies on top of the new one now: take it off.
        sys::detach(c".").at(Step::PIVOT)?;
        sys::chdir(c"/").at(Step::PIVOT)?;
        Ok(self.flags)
    }
}

/// Maps root inside to the host's user and group. An ordinary user must give up setgroups(2) for that
/// (user_namespaces(7)).
fn write_own_maps(uid: u32, gid: u32) -> Result<()> {
    write_file(c"/proc/self/setgroups", b"deny")?;
    for (path, id) in [(c"/proc/self/uid_map", uid), (c"/proc/self/gid_map", gid)] {
        let mut map = Text::<32>::new();
        map.push(b"0 ")?;
        map.push_number(u64::from(id))?;
        map.push(b" 1\n")?;
        write_file(path, map.as_bytes())?;
    }
    Ok(())
}

fn write_file(path: &CStr, bytes: &[u8]) -> Result<()> {
    let fd = sys::open(path, O_WRONLY | O_CLOEXEC, 0)?;
    let written = sys::write(fd, bytes);
    sys::close(fd);
    if written? == bytes.len() { Ok(()) } else { Err(Errno::INVAL) }
}

/// An empty file system for the root, and one for devices in it. The bounds are for what the host puts there: a few
/// links, a few small files.
fn empty_root(mount_point: &[u8]) -> Result<()> {
    let mount_point = c_str(mount_point)?;
    sys::mount_new(
        c"tmpfs",
        mount_point,
        MS_NOSUID | MS_NODEV,
        c"size=16m,nr_inodes=16384,mode=755",
    )?;
    sys::chdir(mount_point)?;
    sys::mkdir(DEV, 0o755)?;
    sys::mount_new(c"tmpfs", DEV, MS_NOSUID | MS_NOEXEC, c"size=64k,nr_inodes=64,mode=755")
}

/// Makes a file, or appends to one that is there.
fn append(path: &CStr, mode: u32, data: &[u8]) -> Result<()> {
    let fd = sys::open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, mode)?;
    let mut rest = data;
    while !rest.is_empty() {
        match sys::write(fd, rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) => {
                sys::close(fd);
                return Err(error);
            }
        }
    }
    sys::close(fd);
    Ok(())
}

/// Shows something of the host, with whatever is mounted beneath it, read-only or not, and never with set-user-id
/// programs.
fn show(source: &CStr, path: &CStr, read_only: bool) -> Result<()> {
    sys::bind(source, path, MS_REC)?;
    let flags = if read_only {
        sys::MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NODEV
    } else {
        sys::MOUNT_ATTR_NOEXEC
    };
    sys::restrict_mounts(path, flags | sys::MOUNT_ATTR_NOSUID)
}

/// A `/proc` that is fully visible, without which the kernel lets no sandbox mount its own. Where a new one may not be
/// mounted, the host's own does, if nothing of it is covered.
fn show_proc(path: &CStr) -> Result<()> {
    match sys::mount_new(c"proc", path, MS_NOSUID | MS_NODEV | MS_NOEXEC, c"") {
        Err(Errno::PERM) => sys::bind(c"/proc", path, MS_REC),
        other => other,
    }
}
