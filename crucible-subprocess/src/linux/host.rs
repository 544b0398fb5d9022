//! What there is to know about the host, once.

use std::fs;
use std::path::Path;

use crucible_guest_client::ProcessStatus;

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
                .and_then(|status| ProcessStatus::parse(status.as_bytes()).seccomp_filters)
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

    /// What stands in the way of user namespaces for this user.
    pub(super) fn user_namespace_obstacle(&self) -> Option<Obstacle> {
        Obstacle::look(Path::new("/proc/sys"), self.is_root())
    }
}

/// A setting of the kernel's that stands in the way of user namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) reason: String,
    pub(super) fix: String,
    /// Nobody gets past it. Else there may be a profile for this very program, which only trying can tell.
    pub(super) is_certain: bool,
}

impl Obstacle {
    /// Looks at the three switches in use, beneath `/proc/sys`. Root is stopped by the first alone.
    fn look(settings: &Path, is_root: bool) -> Option<Self> {
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

    /// A directory of settings like `/proc/sys`; removed when dropped.
    struct Settings(std::path::PathBuf);

    impl Settings {
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

    impl Drop for Settings {
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
    fn open_settings_are_no_obstacle() {
        let settings = Settings::new("open", &OPEN);
        assert_eq!(Obstacle::look(&settings.0, false), None);
        // Kernels without a switch have no file for it.
        assert_eq!(Obstacle::look(Path::new("/proc/no/such/directory"), false), None);
    }

    #[test]
    fn each_switch_is_named_with_what_opens_it() {
        let names = [
            "user.max_user_namespaces",
            "kernel.unprivileged_userns_clone",
            "kernel.apparmor_restrict_",
        ];
        let closed = ["0", "0", "1"];
        for (index, (name, value)) in names.into_iter().zip(closed).enumerate() {
            let mut switches = OPEN;
            switches[index].1 = value;
            let settings = Settings::new(&format!("closed-{index}"), &switches);
            let obstacle = Obstacle::look(&settings.0, false).unwrap();
            assert!(obstacle.reason.contains(name), "{obstacle:?}");
            assert!(obstacle.fix.contains(&format!("sysctl -w {name}")), "{obstacle:?}");
            // A program can have a profile of its own.
            assert_eq!(obstacle.is_certain, index < 2, "{obstacle:?}");
            // Root may make as many as there may be.
            assert_eq!(Obstacle::look(&settings.0, true).is_some(), index == 0, "{name}");
        }
    }
}
