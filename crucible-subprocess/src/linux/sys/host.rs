//! Facts about the host, read once when an engine starts.

use std::fs;
use std::path::Path;

use crucible_guest_client::ProcessStatus;

use super::landlock::landlock_abi;

/// Facts about the host.
#[derive(Debug, Clone)]
pub(crate) struct HostInfo {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// `None` if the kernel has no Landlock.
    pub(crate) landlock_abi: Option<u8>,
    /// The hard limit on open files. No sandbox can have a higher limit.
    pub(crate) open_files_max: u64,
    /// Number of seccomp filters that the host process runs under. Sandboxes inherit them.
    pub(crate) seccomp_filters: u32,
    /// The number of CPUs that a sandbox can use in parallel.
    pub(crate) cpus: u32,
}

impl HostInfo {
    /// Reads the facts of this process and its kernel.
    pub(crate) fn read() -> Self {
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            landlock_abi: landlock_abi(),
            open_files_max: open_files.maximum.unwrap_or(u64::MAX),
            seccomp_filters: fs::read_to_string("/proc/self/status")
                .ok()
                .and_then(|status| ProcessStatus::parse(status.as_bytes()).seccomp_filters)
                .unwrap_or(0),
            cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        }
    }

    /// Returns `true` if the host is root, and can give each sandbox its own users.
    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Returns the kernel's name and release, for reports.
    pub(crate) fn kernel() -> String {
        let name = rustix::system::uname();
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
    }

    /// Returns the setting that keeps this user from creating user namespaces, if there is one.
    pub(crate) fn user_namespace_obstacle(&self) -> Option<UserNamespaceObstacle> {
        UserNamespaceObstacle::find(Path::new("/proc/sys"), self.is_root())
    }
}

/// A kernel setting that restricts user namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserNamespaceObstacle {
    pub(crate) reason: String,
    pub(crate) fix: String,
    /// `true` if the setting applies to every program. If `false`, a profile may exempt the host
    /// program, and only an attempt shows it.
    pub(crate) is_certain: bool,
}

impl UserNamespaceObstacle {
    /// Checks the three settings in use, beneath `/proc/sys`. Only the first one applies to root.
    fn find(settings: &Path, is_root: bool) -> Option<Self> {
        let is = |name: &str, wanted: &str| {
            fs::read_to_string(settings.join(name)).is_ok_and(|text| text.trim() == wanted)
        };
        let found = |reason: &str, fix: &str, is_certain| {
            Some(Self { reason: reason.to_owned(), fix: fix.to_owned(), is_certain })
        };
        if is("user/max_user_namespaces", "0") {
            found(
                "`user.max_user_namespaces` is 0",
                "run `sysctl -w user.max_user_namespaces=15000`",
                true,
            )
        } else if is_root {
            None
        } else if is("kernel/unprivileged_userns_clone", "0") {
            found(
                "`kernel.unprivileged_userns_clone` is 0",
                "run `sysctl -w kernel.unprivileged_userns_clone=1`",
                true,
            )
        } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
            found(
                "AppArmor restricts user namespaces of ordinary users: \
                 `kernel.apparmor_restrict_unprivileged_userns` is 1",
                "give the host program an AppArmor profile with `userns,`, or run \
                 `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
                false,
            )
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of settings in the layout of `/proc/sys`, removed on drop.
    struct SysctlDirectory(std::path::PathBuf);

    impl SysctlDirectory {
        fn new(name: &str, settings: &[(&str, &str)]) -> Self {
            let root =
                std::env::temp_dir().join(format!("crucible-sys-{name}-{}", std::process::id()));
            for (setting, value) in settings {
                let path = root.join(setting);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{value}\n")).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for SysctlDirectory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const OPEN: [(&str, &str); 3] = [
        ("user/max_user_namespaces", "15000"),
        ("kernel/unprivileged_userns_clone", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "0"),
    ];

    #[test]
    fn obstacle_with_open_settings_is_none() {
        let settings = SysctlDirectory::new("open", &OPEN);
        assert_eq!(UserNamespaceObstacle::find(&settings.0, false), None);
        // Kernels without a setting have no file for it.
        let missing = Path::new("/proc/no/such/directory");
        assert_eq!(UserNamespaceObstacle::find(missing, false), None);
    }

    #[test]
    fn obstacle_names_the_closed_setting_and_its_fix() {
        let names = [
            "user.max_user_namespaces",
            "kernel.unprivileged_userns_clone",
            "kernel.apparmor_restrict_",
        ];
        let closed = ["0", "0", "1"];
        for (index, (name, value)) in names.into_iter().zip(closed).enumerate() {
            let mut switches = OPEN;
            switches[index].1 = value;
            let settings = SysctlDirectory::new(&format!("closed-{index}"), &switches);
            let obstacle = UserNamespaceObstacle::find(&settings.0, false).unwrap();
            assert!(obstacle.reason.contains(name), "{obstacle:?}");
            assert!(obstacle.fix.contains(&format!("sysctl -w {name}")), "{obstacle:?}");
            // AppArmor may have a profile for this very program.
            assert_eq!(obstacle.is_certain, index < 2, "{obstacle:?}");
            // Root may create user namespaces up to the limit.
            let for_root = UserNamespaceObstacle::find(&settings.0, true);
            assert_eq!(for_root.is_some(), index == 0, "{name}");
        }
    }
}
