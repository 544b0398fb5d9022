//! What there is to know about the host, once.

use std::fs;

use super::status::Status;
use super::sys;

/// What there is to know about the host.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None`: the kernel has no Landlock.
    pub(super) landlock_abi: Option<u8>,
    /// The hard limit on open files: no sandbox can have more.
    pub(super) open_files_max: u64,
    /// How many seccomp filters the host itself runs under: sandboxes inherit them.
    pub(super) seccomp_filters: u32,
    /// How many CPUs a sandbox can use at once.
    pub(super) cpus: u32,
}

impl Host {
    pub(super) fn look() -> Self {
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            landlock_abi: sys::landlock_abi(),
            open_files_max: open_files.maximum.unwrap_or(u64::MAX),
            seccomp_filters: fs::read_to_string("/proc/self/status")
                .ok()
                .and_then(|status| Status::parse(status.as_bytes()).seccomp_filters)
                .unwrap_or(0),
            cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        }
    }

    /// Whether the host is root, and can give every sandbox users of its own.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The kernel's release, for people.
    pub(super) fn kernel() -> String {
        let name = rustix::system::uname();
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
    }

    /// Why user namespaces may be refused to an ordinary user, and what mends it: the three switches in use.
    pub(super) fn user_namespace_obstacle() -> Option<(String, String)> {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        if read("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
            return Some((
                "`user.max_user_namespaces` is 0".to_owned(),
                "run `sysctl -w user.max_user_namespaces=15000`".to_owned(),
            ));
        }
        if read("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
            return Some((
                "`kernel.unprivileged_userns_clone` is 0".to_owned(),
                "run `sysctl -w kernel.unprivileged_userns_clone=1`".to_owned(),
            ));
        }
        if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
            return Some((
                "AppArmor restricts user namespaces of ordinary users".to_owned(),
                "give the host program an AppArmor profile with `userns`, or run \
                 `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
                    .to_owned(),
            ));
        }
        None
    }
}
