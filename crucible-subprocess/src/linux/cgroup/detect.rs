//! Where cgroups can be made on this host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files;

/// What the engine needs of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Memory,
    Pids,
    /// The count of CPU time: `cpuacct` in version 1, part of every group in version 2.
    Cpu,
}

impl Controller {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// The name in version 1.
    pub(crate) fn v1_name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpuacct",
        }
    }
}

/// Which version a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// A directory in which groups with a controller can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    /// The engine's own directory there, named by whoever configures it, made if need be.
    pub(crate) parent: PathBuf,
}

impl Place {
    /// Whether what is swapped out counts: where it does, a sandbox has no swap.
    pub(crate) fn counts_swap(&self) -> bool {
        self.has_file("memory.memsw.limit_in_bytes", "memory.swap.max")
    }

    /// Whether the kernel keeps the most memory that was in use.
    pub(crate) fn keeps_memory_peak(&self) -> bool {
        self.has_file("memory.max_usage_in_bytes", "memory.peak")
    }

    /// Whether the kernel keeps the most processes that there were.
    pub(crate) fn keeps_processes_peak(&self) -> bool {
        self.has_file("pids.peak", "pids.peak")
    }

    fn has_file(&self, v1: &str, v2: &str) -> bool {
        let name = match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
        };
        self.parent.join(name).exists()
    }
}

/// For each controller where to make groups, or why not and what mends it.
pub(crate) type Found = BTreeMap<Controller, Result<Place, (String, String)>>;

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    version: Version,
    point: PathBuf,
    /// Which group of the hierarchy is seen at the mount point.
    root: PathBuf,
    /// The controllers of a version 1 hierarchy.
    controllers: Vec<String>,
}

/// Looks where groups with the wanted controllers can be made beneath `name`, and makes that directory.
pub(crate) fn detect(name: &Path, wanted: &[Controller]) -> Found {
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .map(|text| parse_mounts(&text))
        .unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v2 = mounts.iter().find(|mount| mount.version == Version::V2);
    wanted
        .iter()
        .copied()
        .map(|controller| {
            let v1 = mounts.iter().find(|mount| {
                mount.version == Version::V1
                    && mount.controllers.iter().any(|c| c == controller.v1_name())
            });
            let found = match (v1, v2) {
                (Some(mount), _) => place_v1(mount, &own, controller, name),
                (None, Some(mount)) => place_v2(mount, &own, controller, name),
                (None, None) => Err((
                    "no cgroup hierarchy is mounted".to_owned(),
                    "mount one: `mount -t cgroup2 none /sys/fs/cgroup`".to_owned(),
                )),
            };
            (controller, found)
        })
        .collect()
}

/// Removes what looking for a place has made, unless another engine uses it.
pub(crate) fn leave<'a>(places: impl Iterator<Item = &'a Place>) {
    for place in places {
        if let Err(error) = fs::remove_dir(&place.parent) {
            tracing::debug!(cgroup = %place.parent.display(), %error, "the named parent stays");
        }
    }
}

/// Beneath the host's own group, so that limits on the host hold for its sandboxes too.
fn place_v1(
    mount: &Mount,
    own: &str,
    controller: Controller,
    name: &Path,
) -> Result<Place, (String, String)> {
    let own_path = own_group(own, Some(controller.v1_name()));
    let parent = beneath(mount, own_path.as_deref(), name);
    let mut made = fs::create_dir_all(&parent);
    for _ in 0..ATTEMPTS {
        if made.is_ok() && is_writable(&parent) {
            return Ok(Place { version: Version::V1, parent });
        }
        if made.is_err() || parent.exists() {
            break;
        }
        made = fs::create_dir_all(&parent);
    }
    let reason = made.err().map_or_else(|| "not writable".to_owned(), |error| error.to_string());
    Err((
        format!("{}: {reason}", parent.display()),
        format!("run as root, or let root make `{}` and give it to this user", parent.display()),
    ))
}

/// How often a directory is made again that another engine, which was ending, has removed.
const ATTEMPTS: u32 = 10;

/// The group that a delegated host moves itself into.
const HOST_GROUP: &str = "crucible-host";

/// Beneath the root of all groups for root; else in the host's own group, which must have been delegated to it (cgroups(7),
/// "Delegation"). A group that has processes of its own cannot hand controllers down, so that such a host moves into a
/// group beside those of its sandboxes.
fn place_v2(
    mount: &Mount,
    own: &str,
    controller: Controller,
    name: &Path,
) -> Result<Place, (String, String)> {
    let own_path = own_group(own, None);
    let own_directory = beneath(mount, own_path.as_deref(), Path::new(""));
    let controller = match controller {
        Controller::Memory => Some("memory"),
        Controller::Pids => Some("pids"),
        // Every group counts CPU time.
        Controller::Cpu => None,
    };
    // Every group but the root of all has a type. In a container the root that is seen is the container's own group.
    let sees_the_root = !mount.point.join("cgroup.type").exists();
    let made = if name.is_absolute() || (rustix::process::geteuid().is_root() && sees_the_root) {
        make_v2(&mount.point, None, controller, name)
    } else if own_directory.ends_with(HOST_GROUP) {
        // This process was moved by an engine before.
        make_v2(own_directory.parent().unwrap_or(&own_directory), None, controller, name)
    } else {
        make_v2(&own_directory, Some(&own_directory.join(HOST_GROUP)), controller, name)
    };
    made.map(|parent| Place { version: Version::V2, parent })
}

/// Makes the directory `name` in a group, and lets it have the controller.
fn make_v2(
    base: &Path,
    host_group: Option<&Path>,
    controller: Option<&str>,
    name: &Path,
) -> Result<PathBuf, (String, String)> {
    let undelegated = |error: io::Error| {
        let fix = "run as root, or start the host with a delegated cgroup: \
                   `systemd-run --user --scope -p Delegate=yes -- PROGRAM`";
        (error.to_string(), fix.to_owned())
    };
    if let Some(controller) = controller
        && !has(base, "cgroup.controllers", controller).map_err(undelegated)?
    {
        return Err((
            format!("{}: no `{controller}` controller", base.display()),
            format!(
                "let it have one: write `+{controller}` to `cgroup.subtree_control` of the group above, or start the host \
                 with `systemd-run --user --scope -p Delegate=yes -- PROGRAM`"
            ),
        ));
    }
    let parent = base.join(name);
    if let Some(host_group) = host_group {
        make_directory(host_group).map_err(undelegated)?;
        files::write(host_group, "cgroup.procs", "0").map_err(undelegated)?;
    }
    let Some(controller) = controller else {
        return make_directory(&parent).map(|()| parent).map_err(undelegated);
    };
    // Another engine that ends may remove what is made in between.
    for attempt in 0.. {
        let made = hand_down(base, &parent, controller);
        match made {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return Err(crowded(base, &error));
            }
            Err(error) => return Err(undelegated(error)),
        }
    }
    Ok(parent)
}

/// There are other processes in the group that is to hand controllers down, such as the shell that started the host.
fn crowded(base: &Path, error: &io::Error) -> (String, String) {
    let others = fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
    let others: Vec<_> = others.lines().take(8).collect();
    (
        format!("{}: {error}: it has processes of its own: {}", base.display(), others.join(" ")),
        "start the host alone in its group, not from a shell that stays there, or move the others into a group beneath: \
         write the id of each to its `cgroup.procs`"
            .to_owned(),
    )
}

/// Makes a directory beneath `base`, and lets groups beneath it have a controller.
fn hand_down(base: &Path, parent: &Path, controller: &str) -> io::Result<()> {
    make_directory(parent)?;
    let mut above: Vec<_> =
        parent.ancestors().take_while(|above| above.starts_with(base)).collect();
    above.reverse();
    for directory in above {
        if !has(directory, "cgroup.subtree_control", controller)? {
            files::write(directory, "cgroup.subtree_control", &format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// Whether a list of controllers has this one.
fn has(directory: &Path, file: &str, controller: &str) -> io::Result<bool> {
    let path = directory.join(file);
    let list = fs::read_to_string(&path).map_err(|error| files::named(&path, &error))?;
    Ok(list.split_whitespace().any(|has| has == controller))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory).map_err(|error| files::named(directory, &error))
}

/// Where a group is in the file system, as far as the mount shows it.
fn beneath(mount: &Mount, own: Option<&Path>, name: &Path) -> PathBuf {
    if name.is_absolute() {
        return name.to_owned();
    }
    let visible = own
        .and_then(|own| own.strip_prefix(&mount.root).ok())
        .map(|own| mount.point.join(own))
        .filter(|directory| directory.is_dir());
    visible.unwrap_or_else(|| mount.point.clone()).join(name)
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The group of this process in the hierarchy of a version 1 controller, or in that of version 2 (cgroups(7)).
fn own_group(text: &str, controller: Option<&str>) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let here = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller),
            None => controllers.is_empty(),
        };
        // A path with `..` is outside of what this process sees.
        (here && !path.contains("/..")).then(|| PathBuf::from(path))
    })
}

/// The cgroup mounts in `/proc/self/mountinfo` (proc(5)).
fn parse_mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let mut front = front.split(' ').skip(3);
            let (root, point) = (front.next()?, front.next()?);
            let mut back = back.split(' ');
            let version = match back.next()? {
                "cgroup" => Version::V1,
                "cgroup2" => Version::V2,
                _ => return None,
            };
            let controllers = back.nth(1)?.split(',').map(str::to_owned).collect();
            Some(Mount { version, point: unescape(point), root: unescape(root), controllers })
        })
        .collect()
}

/// Spaces and their like are octal numbers in `/proc` (proc(5)).
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
    fn mounts_are_told_apart() {
        let mounts = parse_mounts(MOUNTS);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[1].controllers, ["rw", "cpu", "cpuacct"]);
        assert_eq!(mounts[2].root, Path::new("/docker/abc"));
        assert_eq!(mounts[3].version, Version::V2);
        assert_eq!(unescape("/a\\040b"), Path::new("/a b"));
    }

    #[test]
    fn the_own_group_is_found_by_controller() {
        let text = "9:name=systemd:/\n8:pids:/\n4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/user.slice\n1:x:/../y\n";
        assert_eq!(own_group(text, Some("memory")), Some("/a/b".into()));
        assert_eq!(own_group(text, Some("cpuacct")), Some("/c".into()));
        assert_eq!(own_group(text, None), Some("/user.slice".into()));
        assert_eq!(own_group(text, Some("blkio")), None);
        assert_eq!(own_group(text, Some("x")), None);
    }

    #[test]
    fn a_group_is_made_beneath_the_own_one_as_far_as_it_is_seen() {
        let mounts = parse_mounts(MOUNTS);
        let name = Path::new("crucible");
        assert_eq!(
            beneath(&mounts[2], Some(Path::new("/docker/abc")), name),
            Path::new("/sys/fs/cgroup/pids/crucible")
        );
        assert_eq!(
            beneath(&mounts[2], Some(Path::new("/other")), name),
            Path::new("/sys/fs/cgroup/pids/crucible")
        );
        assert_eq!(
            beneath(&mounts[0], None, Path::new("/sys/fs/cgroup/x")),
            Path::new("/sys/fs/cgroup/x")
        );
    }
}
