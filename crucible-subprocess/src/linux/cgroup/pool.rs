//! Groups made ahead of time.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::detect::{Controller, Place, Version};
use super::group::{Group, GroupLimits};
use super::owner::{self, Owner};

/// Makes groups, some ahead of time, and removes the engine's directories when it ends.
#[derive(Debug)]
pub(crate) struct Pool {
    places: Vec<(Controller, Place)>,
    owner: String,
    next: AtomicU64,
    ready: Mutex<Ready>,
}

#[derive(Debug, Default)]
struct Ready {
    groups: Vec<Group>,
    /// What was last asked for: most hosts always ask for the same.
    limits: Option<GroupLimits>,
}

impl Pool {
    /// Removes what dead hosts left, and makes the engine's own directory in each place.
    pub(crate) fn new(places: Vec<(Controller, Place)>) -> io::Result<Self> {
        let owner = Owner::this_process()?.name();
        let pool = Self { places, owner, next: AtomicU64::new(0), ready: Mutex::default() };
        for (controller, place) in &pool.places {
            owner::sweep(&place.parent);
            let directory = place.parent.join(&pool.owner);
            // Another engine that ends may remove the parent in between.
            for attempt in 0.. {
                fs::create_dir_all(&place.parent)?;
                match fs::create_dir(&directory) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < 10 => {}
                    Err(error) => return Err(error),
                }
            }
            if place.version == Version::V2 && *controller != Controller::Cpu {
                let name = if *controller == Controller::Memory { "+memory" } else { "+pids" };
                super::files::write(&place.parent, "cgroup.subtree_control", name)?;
                super::files::write(&directory, "cgroup.subtree_control", name)?;
            }
        }
        Ok(pool)
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A group in which nothing runs, with these limits.
    pub(crate) fn take(&self, limits: GroupLimits) -> io::Result<Group> {
        let ready = {
            let mut ready = self.ready();
            ready.limits = Some(limits);
            let with = |wanted| ready.groups.iter().rposition(|group| group.limits() == wanted);
            with(Some(limits)).or_else(|| with(None)).map(|index| ready.groups.swap_remove(index))
        };
        let group = match ready {
            Some(group) => group,
            None => self.make()?,
        };
        if group.limits() == Some(limits) { Ok(group) } else { limited(group, limits) }
    }

    /// Takes a group back in which everything has died: it is used again if fewer than `wanted` are ready, or removed.
    /// `EBUSY` as long as something runs in it; then it is left where it is.
    pub(crate) fn put_back(&self, group: &mut Option<Group>, wanted: usize) -> io::Result<()> {
        let Some(used) = group else { return Ok(()) };
        let limits = used.limits();
        let has_room = {
            let mut ready = self.ready();
            // One with limits that nobody asks for any more makes room.
            if ready.groups.len() >= wanted
                && ready.limits == limits
                && let Some(index) = ready.groups.iter().position(|group| group.limits() != limits)
            {
                ready.groups.swap_remove(index).discard();
            }
            ready.groups.len() < wanted
        };
        let reused = if has_room { used.reuse(&self.name()) } else { Ok(false) };
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

    /// Makes a group in which everything has died ready for another sandbox of the same size, or puts another in its place. `EBUSY` as
    /// long as something runs in it; then it is left where it is.
    pub(crate) fn renew(&self, group: &mut Option<Group>) -> io::Result<()> {
        let Some(used) = group else { return Ok(()) };
        let limits = used.limits();
        if used.reuse(&self.name())? {
            return Ok(());
        }
        used.remove()?;
        *group = None;
        if let Some(limits) = limits {
            let fresh = self.take(limits)?;
            // What cannot be opened now is tried again when it is needed, and then its error is heard.
            let _opened = fresh.open_counters();
            *group = Some(fresh);
        }
        Ok(())
    }

    fn make(&self) -> io::Result<Group> {
        Group::make(&self.places, &self.owner, &self.name())
    }

    fn name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// How many groups are ready.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready().groups.len()
    }

    /// Makes one group ahead of time, with the limits that were last asked for.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let limits = self.ready().limits;
        let group = self.make()?;
        let group = match limits {
            Some(limits) => limited(group, limits)?,
            None => group,
        };
        self.ready().groups.push(group);
        Ok(())
    }

    /// Removes all but this many of the groups that are ready, and closes what the others need not have open.
    pub(crate) fn shrink(&self, wanted: usize) {
        let removed: Vec<Group> = {
            let mut ready = self.ready();
            ready.groups.iter_mut().for_each(Group::close_counters);
            let too_many = ready.groups.len().saturating_sub(wanted);
            ready.groups.drain(..too_many).collect()
        };
        removed.iter().for_each(Group::discard);
    }

    /// Where the engine's groups are, each place once.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<_> =
            self.places.iter().map(|(_, place)| place.parent.join(&self.owner)).collect();
        directories.sort();
        directories.dedup();
        directories
    }
}

fn limited(mut group: Group, limits: GroupLimits) -> io::Result<Group> {
    match group.limit(limits) {
        Ok(()) => Ok(group),
        Err(error) => {
            group.discard();
            Err(error)
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.ready().groups.clear();
        for directory in self.directories() {
            if let Err(error) = owner::remove_tree(&directory) {
                tracing::error!(cgroup = %directory.display(), %error, "the engine's cgroups were left");
                continue;
            }
            // The named parent is shared: it goes with the last engine.
            if let Some(parent) = directory.parent()
                && let Err(error) = fs::remove_dir(parent)
                && !matches!(
                    error.raw_os_error(),
                    Some(libc::EBUSY | libc::ENOTEMPTY | libc::ENOENT | libc::EACCES)
                )
            {
                tracing::warn!(cgroup = %parent.display(), %error, "the named parent was left");
            }
        }
    }
}
