//! Groups made ahead of time.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::detect::{Controller, Place, Version};
use super::group::Group;
use super::owner::{self, Owner};

/// Makes groups, some ahead of time, and removes the engine's directories when it ends.
#[derive(Debug)]
pub(crate) struct Pool {
    places: Vec<(Controller, Place)>,
    owner: String,
    next: AtomicU64,
    ready: Mutex<Vec<Group>>,
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

    fn ready(&self) -> MutexGuard<'_, Vec<Group>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A group in which nothing has ever run.
    pub(crate) fn take(&self) -> io::Result<Group> {
        let ready = self.ready().pop();
        match ready {
            Some(group) => Ok(group),
            None => self.make(),
        }
    }

    fn make(&self) -> io::Result<Group> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        Group::make(&self.places, &self.owner, &name)
    }

    /// How many groups are ready.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready().len()
    }

    /// Makes one group ahead of time.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let group = self.make()?;
        self.ready().push(group);
        Ok(())
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

impl Drop for Pool {
    fn drop(&mut self) {
        self.ready().clear();
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
