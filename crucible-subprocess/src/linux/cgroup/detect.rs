//! Detection of the directories in which this host can create cgroups.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cgroup_root::{CgroupController, CgroupRoot, CgroupVersion};
use super::control_files;
use super::mounts::{CgroupMount, own_group};

/// The number of times that detection creates a directory again after an ending engine removed it.
const ATTEMPTS: u32 = 10;
/// The group that a delegated host moves itself into.
const HOST_GROUP: &str = "crucible-host";

/// The reason why no group can be created, and its fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupObstacle {
    pub(crate) reason: String,
    pub(crate) fix: String,
}

impl CgroupObstacle {
    fn new(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: fix.into() }
    }

    /// Maps an error of a group that was not delegated to this user.
    fn undelegated(error: &io::Error) -> Self {
        Self::new(
            error.to_string(),
            "run as root, or start the host with a delegated cgroup: \
             `systemd-run --user --scope -p Delegate=yes -- PROGRAM`",
        )
    }

    /// Reports other processes in the group that has to delegate controllers, such as the shell
    /// that started the host.
    fn crowded(base: &Path, error: &io::Error) -> Self {
        let others = fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
        let others: Vec<_> = others.lines().take(8).collect();
        Self::new(
            format!(
                "{}: {error}: the group has its own processes: {}",
                base.display(),
                others.join(" ")
            ),
            "start the host alone in its group, not from a shell that stays there, or move the \
             other processes into a child group: write the id of each to its `cgroup.procs`",
        )
    }
}

/// The root of each controller, or the obstacle.
pub(crate) type DetectedCgroups = BTreeMap<CgroupController, Result<CgroupRoot, CgroupObstacle>>;

/// Finds where groups with the wanted controllers can be created beneath `name`, and creates that
/// directory.
pub(crate) fn detect(name: &Path, wanted: &[CgroupController]) -> DetectedCgroups {
    let mounts = CgroupMount::read_all();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v2 = mounts.iter().find(|mount| mount.version == CgroupVersion::V2);
    wanted
        .iter()
        .copied()
        .map(|controller| {
            let v1 = mounts.iter().find(|mount| mount.is_v1_of(controller));
            let root = match (v1, v2) {
                (Some(mount), _) => root_v1(mount, &own, controller, name),
                (None, Some(mount)) => root_v2(mount, &own, controller, name),
                (None, None) => Err(CgroupObstacle::new(
                    "no cgroup hierarchy is mounted",
                    "mount one: `mount -t cgroup2 none /sys/fs/cgroup`",
                )),
            };
            (controller, root)
        })
        .collect()
}

/// Removes the directories that detection created, unless another engine uses them.
pub(crate) fn remove_unused<'a>(roots: impl Iterator<Item = &'a CgroupRoot>) {
    for root in roots {
        if let Err(error) = fs::remove_dir(&root.parent) {
            tracing::debug!(cgroup = %root.parent.display(), %error, "the parent cgroup stays");
        }
    }
}

/// Creates the root beneath the host's own group, so that limits on the host also apply to its
/// sandboxes.
fn root_v1(
    mount: &CgroupMount,
    own: &str,
    controller: CgroupController,
    name: &Path,
) -> Result<CgroupRoot, CgroupObstacle> {
    let own_path = own_group(own, Some(controller.v1_name()));
    let parent = mount.directory_of(own_path.as_deref(), name);
    let mut created = fs::create_dir_all(&parent);
    for _ in 0..ATTEMPTS {
        if created.is_ok() && is_writable(&parent) {
            return Ok(CgroupRoot { version: CgroupVersion::V1, parent });
        }
        if created.is_err() || parent.exists() {
            break;
        }
        created = fs::create_dir_all(&parent);
    }
    let reason = created.err().map_or_else(|| "not writable".to_owned(), |error| error.to_string());
    Err(CgroupObstacle::new(
        format!("{}: {reason}", parent.display()),
        format!("run as root, or create `{}` as root and give it to this user", parent.display()),
    ))
}

/// Creates the root beneath the root of all groups if the host is root.
///
/// Otherwise the host's own group must have been delegated to the host (cgroups(7), "Delegation").
/// A group with its own processes cannot delegate controllers, so such a host moves into a group
/// beside the groups of its sandboxes.
fn root_v2(
    mount: &CgroupMount,
    own: &str,
    controller: CgroupController,
    name: &Path,
) -> Result<CgroupRoot, CgroupObstacle> {
    let own_path = own_group(own, None);
    let own_directory = mount.directory_of(own_path.as_deref(), Path::new(""));
    let controller = controller.v2_name();
    // Every group except the root of all groups has a type. A container sees its own group as the
    // root.
    let sees_root = !mount.point.join("cgroup.type").exists();
    let created = if name.is_absolute() || (rustix::process::geteuid().is_root() && sees_root) {
        create_v2(&mount.point, None, controller, name)
    } else if own_directory.ends_with(HOST_GROUP) {
        // An earlier engine moved this process.
        create_v2(own_directory.parent().unwrap_or(&own_directory), None, controller, name)
    } else {
        create_v2(&own_directory, Some(&own_directory.join(HOST_GROUP)), controller, name)
    };
    created.map(|parent| CgroupRoot { version: CgroupVersion::V2, parent })
}

/// Creates the directory `name` in a group, and delegates the controller to it.
fn create_v2(
    base: &Path,
    host_group: Option<&Path>,
    controller: Option<&str>,
    name: &Path,
) -> Result<PathBuf, CgroupObstacle> {
    let undelegated = |error: io::Error| CgroupObstacle::undelegated(&error);
    if let Some(controller) = controller
        && !lists(base, "cgroup.controllers", controller).map_err(undelegated)?
    {
        return Err(CgroupObstacle::new(
            format!("{}: no `{controller}` controller", base.display()),
            format!(
                "enable it: write `+{controller}` to `cgroup.subtree_control` of the parent group, \
                 or start the host with `systemd-run --user --scope -p Delegate=yes -- PROGRAM`"
            ),
        ));
    }
    let parent = base.join(name);
    if let Some(host_group) = host_group {
        create_directory(host_group).map_err(undelegated)?;
        control_files::write(host_group, "cgroup.procs", "0").map_err(undelegated)?;
    }
    let Some(controller) = controller else {
        return create_directory(&parent).map(|()| parent).map_err(undelegated);
    };
    // Another engine that ends may remove the directory in between.
    for attempt in 0.. {
        match delegate(base, &parent, controller) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return Err(CgroupObstacle::crowded(base, &error));
            }
            Err(error) => return Err(undelegated(error)),
        }
    }
    Ok(parent)
}

/// Creates a directory beneath `base`, and enables a controller for its child groups.
fn delegate(base: &Path, parent: &Path, controller: &str) -> io::Result<()> {
    create_directory(parent)?;
    let mut above: Vec<_> =
        parent.ancestors().take_while(|above| above.starts_with(base)).collect();
    above.reverse();
    for directory in above {
        if !lists(directory, "cgroup.subtree_control", controller)? {
            let value = format!("+{controller}");
            control_files::write(directory, "cgroup.subtree_control", &value)?;
        }
    }
    Ok(())
}

/// Returns `true` if the list in `file` contains the controller.
fn lists(directory: &Path, file: &str, controller: &str) -> io::Result<bool> {
    let path = directory.join(file);
    let list =
        fs::read_to_string(&path).map_err(|error| control_files::with_path(&path, &error))?;
    Ok(list.split_whitespace().any(|listed| listed == controller))
}

fn create_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory).map_err(|error| control_files::with_path(directory, &error))
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}
