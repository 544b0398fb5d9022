//! The root file system of every sandbox. The spawner builds it once, in its own mount namespace,
//! and then makes it its root permanently.
//!
//! The mounts that a sandbox inherits are locked: the kernel does not let a less privileged mount
//! namespace make them writable again, or reveal what they cover (mount_namespaces(7)). The spawner
//! keeps few mounts, because the kernel copies all of them for each sandbox.

use core::ffi::CStr;

use super::decimal::TextBuffer;
use super::step_error::{AtStep as _, StepResult};
use super::sys::{
    self, CLONE_NEWNS, CLONE_NEWUSER, Errno, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC,
    O_APPEND, O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_WRONLY, Result, c_str,
};
use crate::protocol::{Init, InitFlags, Step, TemplateOp};

/// The template's `/dev`: a file system of its own, because the root's does not allow devices.
const DEV: &CStr = c"dev";

/// A template under construction. The working directory is its root.
pub(crate) struct RootTemplate {
    flags: InitFlags,
}

impl RootTemplate {
    /// Creates the spawner's namespaces and an empty root.
    pub(crate) fn begin(init: &Init<'_>) -> StepResult<Self> {
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

    /// Executes one operation.
    pub(crate) fn apply(&self, op: &TemplateOp<'_>) -> Result<()> {
        match *op {
            TemplateOp::Directory { path, mode } => sys::mkdir(c_str(path)?, mode),
            TemplateOp::Link { path, target } => sys::symlink(c_str(target)?, c_str(path)?),
            TemplateOp::File { path, mode, data } => append(c_str(path)?, mode, data),
            TemplateOp::Bind { source, path } => bind_host(c_str(source)?, c_str(path)?, true),
            TemplateOp::Device { source, path, major, minor } => {
                let path = c_str(path)?;
                if self.flags.has(InitFlags::OWN_USER_NAMESPACE) {
                    append(path, 0o666, &[])?;
                    return bind_host(c_str(source)?, path, false);
                }
                sys::make_device(path, major, minor)?;
                sys::chmod(path, 0o666)
            }
            TemplateOp::Proc { path } => mount_proc(c_str(path)?),
        }
    }

    /// Makes the root read-only and enters it. Nothing outside is reachable from then on.
    pub(crate) fn seal(self) -> StepResult<InitFlags> {
        sys::remount(DEV, MS_RDONLY | MS_NOSUID | MS_NOEXEC).at(Step::TEMPLATE)?;
        sys::remount(c".", MS_RDONLY | MS_NOSUID | MS_NODEV).at(Step::TEMPLATE)?;
        sys::pivot_here().at(Step::PIVOT)?;
        // The old root is mounted on top of the new one now. Remove it.
        sys::detach(c".").at(Step::PIVOT)?;
        sys::chdir(c"/").at(Step::PIVOT)?;
        Ok(self.flags)
    }
}

/// Maps root inside to the host's user and group. An ordinary user must disable setgroups(2) first
/// (user_namespaces(7)).
fn write_own_maps(uid: u32, gid: u32) -> Result<()> {
    write_file(c"/proc/self/setgroups", b"deny")?;
    for (path, id) in [(c"/proc/self/uid_map", uid), (c"/proc/self/gid_map", gid)] {
        let mut map = TextBuffer::<32>::new();
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

/// Mounts an empty file system for the root, and one for devices in it. The limits leave room for
/// what the host puts there: a few links and small files.
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

/// Creates a file, or appends to an existing one.
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

/// Binds a file or directory of the host, with all mounts beneath it, without set-user-id programs.
fn bind_host(source: &CStr, path: &CStr, read_only: bool) -> Result<()> {
    sys::bind(source, path, MS_REC)?;
    let flags = if read_only {
        sys::MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NODEV
    } else {
        sys::MOUNT_ATTR_NOEXEC
    };
    sys::restrict_mounts(path, flags | sys::MOUNT_ATTR_NOSUID)
}

/// Mounts a `/proc` that is fully visible, without which the kernel lets no sandbox mount its own.
/// If the spawner may not mount a new one, binds the host's, which works if no part of it is
/// covered.
fn mount_proc(path: &CStr) -> Result<()> {
    match sys::mount_new(c"proc", path, MS_NOSUID | MS_NODEV | MS_NOEXEC, c"") {
        Err(Errno::PERM) => sys::bind(c"/proc", path, MS_REC),
        other => other,
    }
}
