//! The mounted cgroup hierarchies, and the group of this process in each.

use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup_root::{CgroupController, CgroupVersion};

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupMount {
    pub(super) version: CgroupVersion,
    pub(super) point: PathBuf,
    /// The group of the hierarchy that is visible at the mount point.
    pub(super) root: PathBuf,
    /// The controllers of a version 1 hierarchy.
    controllers: Vec<String>,
}

impl CgroupMount {
    /// Reads the cgroup mounts of this process.
    pub(super) fn read_all() -> Vec<Self> {
        fs::read_to_string("/proc/self/mountinfo")
            .map(|text| parse_mounts(&text))
            .unwrap_or_default()
    }

    /// Returns `true` for the version 1 hierarchy of this controller.
    pub(super) fn is_v1_of(&self, controller: CgroupController) -> bool {
        self.version == CgroupVersion::V1
            && self.controllers.iter().any(|name| name == controller.v1_name())
    }

    /// Returns the directory of the group `name` beneath the group `own`, as far as this mount
    /// shows it. An absolute name is returned as it is.
    pub(super) fn directory_of(&self, own: Option<&Path>, name: &Path) -> PathBuf {
        if name.is_absolute() {
            return name.to_owned();
        }
        let visible = own
            .and_then(|own| own.strip_prefix(&self.root).ok())
            .map(|own| self.point.join(own))
            .filter(|directory| directory.is_dir());
        visible.unwrap_or_else(|| self.point.clone()).join(name)
    }
}

/// Returns this process's group in the hierarchy of a version 1 controller, or in version 2
/// (cgroups(7)). `text` is the content of `/proc/self/cgroup`.
pub(super) fn own_group(text: &str, controller: Option<&str>) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let here = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller),
            None => controllers.is_empty(),
        };
        // A path with `..` is outside of the part that this process sees.
        (here && !path.contains("/..")).then(|| PathBuf::from(path))
    })
}

/// Parses the cgroup mounts in `/proc/self/mountinfo` (proc(5)).
fn parse_mounts(text: &str) -> Vec<CgroupMount> {
    text.lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let mut front = front.split(' ').skip(3);
            let (root, point) = (front.next()?, front.next()?);
            let mut back = back.split(' ');
            let version = match back.next()? {
                "cgroup" => CgroupVersion::V1,
                "cgroup2" => CgroupVersion::V2,
                _ => return None,
            };
            let controllers = back.nth(1)?.split(',').map(str::to_owned).collect();
            Some(CgroupMount { version, point: unescape(point), root: unescape(root), controllers })
        })
        .collect()
}

/// Decodes the octal escapes of spaces and similar characters in `/proc` (proc(5)).
fn unescape(text: &str) -> PathBuf {
    let mut plain = text.to_owned();
    for (escaped, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
    {
        plain = plain.replace(escaped, character);
    }
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 24 0:29 /docker/abc /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
34 24 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
35 24 8:1 / /a\\040b rw - ext4 /dev/sda1 rw";

    #[test]
    fn mountinfo_yields_cgroup_mounts_only() {
        let mounts = parse_mounts(MOUNTS);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[1].controllers, ["rw", "cpu", "cpuacct"]);
        assert_eq!(mounts[2].root, Path::new("/docker/abc"));
        assert_eq!(mounts[3].version, CgroupVersion::V2);
        assert_eq!(unescape("/a\\040b"), Path::new("/a b"));
    }

    #[test]
    fn own_group_is_found_by_controller() {
        let text = "9:name=systemd:/\n8:pids:/\n4:memory:/a/b\n2:cpu,cpuacct:/c\n\
                    0::/user.slice\n1:x:/../y\n";
        assert_eq!(own_group(text, Some("memory")), Some("/a/b".into()));
        assert_eq!(own_group(text, Some("cpuacct")), Some("/c".into()));
        assert_eq!(own_group(text, None), Some("/user.slice".into()));
        assert_eq!(own_group(text, Some("blkio")), None);
        assert_eq!(own_group(text, Some("x")), None);
    }

    #[test]
    fn directory_of_group_stays_in_the_visible_part() {
        let mounts = parse_mounts(MOUNTS);
        let name = Path::new("crucible");
        for own in ["/docker/abc", "/other"] {
            let directory = mounts[2].directory_of(Some(Path::new(own)), name);
            assert_eq!(directory, Path::new("/sys/fs/cgroup/pids/crucible"));
        }
        let absolute = Path::new("/sys/fs/cgroup/x");
        assert_eq!(mounts[0].directory_of(None, absolute), absolute);
    }
}
