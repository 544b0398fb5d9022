//! Groups created ahead of time.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cgroup_owner::{self, CgroupOwner};
use super::cgroup_root::{CgroupController, CgroupRoot, CgroupVersion};
use super::control_files;
use super::sandbox_cgroup::{CgroupLimits, SandboxCgroup};

/// Creates groups, some ahead of time. Removes the engine's directories on drop.
#[derive(Debug)]
pub(crate) struct CgroupPool {
    roots: Vec<(CgroupController, CgroupRoot)>,
    owner: String,
    next: AtomicU64,
    ready: Mutex<ReadyCgroups>,
}

#[derive(Debug, Default)]
struct ReadyCgroups {
    groups: Vec<SandboxCgroup>,
    /// The last requested limits. Most hosts always request the same.
    limits: Option<CgroupLimits>,
}

impl CgroupPool {
    /// Removes the groups of dead hosts, and creates the engine's own directory in each root.
    pub(crate) fn new(roots: Vec<(CgroupController, CgroupRoot)>) -> io::Result<Self> {
        let owner = CgroupOwner::this_process()?.name();
        let pool = Self { roots, owner, next: AtomicU64::new(0), ready: Mutex::default() };
        for (controller, root) in &pool.roots {
            cgroup_owner::sweep(&root.parent);
            let directory = root.parent.join(&pool.owner);
            // Another engine that ends may remove the parent in between.
            for attempt in 0.. {
                fs::create_dir_all(&root.parent)?;
                match fs::create_dir(&directory) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < 10 => {}
                    Err(error) => return Err(error),
                }
            }
            if root.version == CgroupVersion::V2
                && let Some(name) = controller.v2_name()
            {
                let value = format!("+{name}");
                control_files::write(&root.parent, "cgroup.subtree_control", &value)?;
                control_files::write(&directory, "cgroup.subtree_control", &value)?;
            }
        }
        Ok(pool)
    }

    fn ready(&self) -> MutexGuard<'_, ReadyCgroups> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a group without processes that has these limits.
    pub(crate) fn take(&self, limits: CgroupLimits) -> io::Result<SandboxCgroup> {
        let ready = {
            let mut ready = self.ready();
            ready.limits = Some(limits);
            let with = |wanted| ready.groups.iter().rposition(|group| group.limits() == wanted);
            with(Some(limits)).or_else(|| with(None)).map(|index| ready.groups.swap_remove(index))
        };
        let group = match ready {
            Some(group) => group,
            None => self.create()?,
        };
        if group.limits() == Some(limits) { Ok(group) } else { limited(group, limits) }
    }

    /// Takes back a group without live processes. Keeps it if fewer than `wanted` are ready, and
    /// removes it otherwise.
    ///
    /// Fails with `EBUSY` while a process runs in the group, and leaves it in place.
    pub(crate) fn put_back(
        &self,
        group: &mut Option<SandboxCgroup>,
        wanted: usize,
    ) -> io::Result<()> {
        let Some(used) = group else { return Ok(()) };
        let limits = used.limits();
        let has_room = {
            let mut ready = self.ready();
            // A group with limits that are no longer requested makes room.
            if ready.groups.len() >= wanted
                && ready.limits == limits
                && let Some(index) = ready.groups.iter().position(|group| group.limits() != limits)
            {
                ready.groups.swap_remove(index).discard();
            }
            ready.groups.len() < wanted
        };
        let reused = if has_room { used.reuse(&self.next_name()) } else { Ok(false) };
        match reused {
            Ok(true) => {
                self.ready().groups.extend(group.take());
                return Ok(());
            }
            Ok(false) => {}
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Err(error),
            Err(error) => tracing::warn!(%error, "a cgroup cannot be used again and is removed"),
        }
        used.remove()?;
        *group = None;
        Ok(())
    }

    /// Prepares a group without processes for another sandbox of the same size, or replaces it.
    ///
    /// Fails with `EBUSY` while a process runs in the group, and leaves it in place.
    pub(crate) fn renew(&self, group: &mut Option<SandboxCgroup>) -> io::Result<()> {
        let Some(used) = group else { return Ok(()) };
        let limits = used.limits();
        if used.reuse(&self.next_name())? {
            return Ok(());
        }
        used.remove()?;
        *group = None;
        if let Some(limits) = limits {
            let fresh = self.take(limits)?;
            // After a failure the next read tries again, and reports the error.
            let _opened = fresh.open_counters();
            *group = Some(fresh);
        }
        Ok(())
    }

    fn create(&self) -> io::Result<SandboxCgroup> {
        SandboxCgroup::create(&self.roots, &self.owner, &self.next_name())
    }

    fn next_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Returns the number of ready groups.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready().groups.len()
    }

    /// Creates one group ahead of time, with the last requested limits.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let limits = self.ready().limits;
        let group = self.create()?;
        let group = match limits {
            Some(limits) => limited(group, limits)?,
            None => group,
        };
        self.ready().groups.push(group);
        Ok(())
    }

    /// Removes all but `wanted` ready groups, and closes the counters of the others.
    pub(crate) fn shrink(&self, wanted: usize) {
        let removed: Vec<SandboxCgroup> = {
            let mut ready = self.ready();
            ready.groups.iter_mut().for_each(SandboxCgroup::close_counters);
            let too_many = ready.groups.len().saturating_sub(wanted);
            ready.groups.drain(..too_many).collect()
        };
        removed.iter().for_each(SandboxCgroup::discard);
    }

    /// Returns the engine's directories, each once.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<_> =
            self.roots.iter().map(|(_, root)| root.parent.join(&self.owner)).collect();
        directories.sort();
        directories.dedup();
        directories
    }
}

fn limited(mut group: SandboxCgroup, limits: CgroupLimits) -> io::Result<SandboxCgroup> {
    match group.limit(limits) {
        Ok(()) => Ok(group),
        Err(error) => {
            group.discard();
            Err(error)
        }
    }
}

impl Drop for CgroupPool {
    fn drop(&mut self) {
        self.ready().groups.clear();
        for directory in self.directories() {
            if let Err(error) = cgroup_owner::remove_tree(&directory) {
                tracing::error!(
                    cgroup = %directory.display(), %error, "cannot remove the engine's cgroups"
                );
                continue;
            }
            // Engines share the parent. The last one removes it.
            if let Some(parent) = directory.parent()
                && let Err(error) = fs::remove_dir(parent)
                && !matches!(
                    error.raw_os_error(),
                    Some(libc::EBUSY | libc::ENOTEMPTY | libc::ENOENT | libc::EACCES)
                )
            {
                tracing::warn!(
                    cgroup = %parent.display(), %error, "cannot remove the parent cgroup"
                );
            }
        }
    }
}
