//! User ids of the host's kernel that nobody else has, two for each sandbox.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FlockOperation;

/// Where ids are taken from: a range that no system uses for anything (systemd's `UIDS-GIDS` lists it as unused).
const FIRST: u32 = 0x7000_0000;
/// How many ids one host takes at once: two for each of 2048 sandboxes.
const BLOCK: u32 = 4096;
/// How many blocks there are.
const BLOCKS: u32 = 1024;
/// What everybody shares where the dedicated user was waived: `nobody` on every system.
const SHARED: u32 = 65_534;

/// The ids of one sandbox, outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdPair {
    /// The guest's: root inside.
    pub(super) guest: u32,
    /// The target's.
    pub(super) target: u32,
}

/// Gives out pairs of ids that no other sandbox on this machine has.
#[derive(Debug)]
pub(super) struct Ids {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The lock is held for as long as this lives: another host takes another block.
    Block { first: u32, lock: Lock, free: Mutex<Free> },
    /// One id for all: an ordinary user's own, or `nobody`.
    Shared(IdPair),
}

#[derive(Debug)]
struct Free {
    /// Ids below `next` were given out before.
    next: u32,
    returned: Vec<u32>,
}

impl Ids {
    /// Takes a block of ids that no other host holds, by a lock in `directory`.
    pub(super) fn claim(directory: &Path) -> io::Result<Self> {
        let directory = directory.join("ids");
        for block in 0..BLOCKS {
            if let Some(lock) = Lock::try_take(directory.join(block.to_string()))? {
                let first = FIRST + block * BLOCK;
                let free = Mutex::new(Free { next: 0, returned: Vec::new() });
                return Ok(Self { source: Source::Block { first, lock, free } });
            }
        }
        Err(io::Error::other(format!("all {BLOCKS} blocks of ids are taken")))
    }

    /// One pair for all sandboxes, whose target is nobody. (A map cannot have one id twice.)
    pub(super) fn shared_by_root() -> Self {
        Self { source: Source::Shared(IdPair { guest: FIRST + BLOCK * BLOCKS, target: SHARED }) }
    }

    /// The one id that an ordinary user has. Seen from the spawner's own user namespace it is 0.
    pub(super) fn single() -> Self {
        Self { source: Source::Shared(IdPair { guest: 0, target: 0 }) }
    }

    /// A pair that nobody has; `None` if all are given out.
    pub(super) fn take(&self) -> Option<IdPair> {
        match &self.source {
            Source::Shared(pair) => Some(*pair),
            Source::Block { first, free, .. } => {
                let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
                let index = match free.returned.pop() {
                    Some(index) => index,
                    None if free.next < BLOCK / 2 => {
                        free.next += 1;
                        free.next - 1
                    }
                    None => return None,
                };
                Some(IdPair { guest: first + 2 * index, target: first + 2 * index + 1 })
            }
        }
    }

    /// Takes a pair back, once nothing runs under it.
    pub(super) fn put(&self, pair: IdPair) {
        if let Source::Block { first, free, .. } = &self.source {
            let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
            free.returned.push((pair.guest - first) / 2);
        }
    }

    /// What there is to say about it.
    pub(super) fn describe(&self) -> String {
        match &self.source {
            Source::Block { first, lock, .. } => {
                format!(
                    "two of {BLOCK} user ids from {first} for each sandbox, locked by {}",
                    lock.path.display()
                )
            }
            Source::Shared(pair) => format!("user id {} for all sandboxes", pair.target),
        }
    }
}

/// A locked file, which goes with the lock.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// Closing it ends the lock, also when the host is killed.
    _file: File,
}

impl Lock {
    /// Locks a file; `None` if another host has locked it.
    fn try_take(path: PathBuf) -> io::Result<Option<Self>> {
        loop {
            if let Some(directory) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            }
            let mut options = OpenOptions::new();
            let file =
                match options.create(true).truncate(false).write(true).mode(0o600).open(&path) {
                    Ok(file) => file,
                    // Another host that ends has removed the directory.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Its owner may have removed it between opening and locking: then the lock is on a file that nobody finds.
            let is_found = fs::metadata(&path).is_ok_and(|found| {
                file.metadata()
                    .is_ok_and(|locked| (locked.dev(), locked.ino()) == (found.dev(), found.ino()))
            });
            if is_found {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a lock was left");
        }
        // The directories go with the last lock in them.
        for directory in self.path.ancestors().skip(1).take(2) {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pair_is_given_out_twice_and_two_hosts_share_none() {
        let directory = std::env::temp_dir().join(format!("crucible-ids-{}", std::process::id()));
        let (one, other) = (Ids::claim(&directory).unwrap(), Ids::claim(&directory).unwrap());
        let mut seen = std::collections::BTreeSet::new();
        for ids in [&one, &other] {
            while let Some(pair) = ids.take() {
                assert!(seen.insert(pair.guest) && seen.insert(pair.target));
            }
        }
        assert_eq!(seen.len(), 2 * BLOCK as usize);
        one.put(IdPair { guest: FIRST + 14, target: FIRST + 15 });
        assert_eq!(one.take(), Some(IdPair { guest: FIRST + 14, target: FIRST + 15 }));
        assert_eq!(one.take(), None);
        drop(one);
        assert_eq!(Ids::claim(&directory).unwrap().take().unwrap().guest, FIRST);
        drop(other);
        assert!(!directory.exists(), "nothing is left");
    }
}
