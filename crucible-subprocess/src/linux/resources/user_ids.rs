//! User ids of the host's kernel for exclusive use by sandboxes, two for each.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FlockOperation;

/// The first id: the start of a range that no system assigns (unused in systemd's `UIDS-GIDS`).
const FIRST: u32 = 0x7000_0000;
/// Number of ids that one engine claims: two for each of 2048 sandboxes.
const BLOCK: u32 = 4096;
/// Number of blocks.
const BLOCKS: u32 = 1024;
/// The id of all targets if the dedicated user was waived: `nobody` on every system.
const SHARED: u32 = 65_534;

/// The ids of one sandbox, outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserIdPair {
    /// The guest's id, which is root in the sandbox.
    pub(crate) guest: u32,
    /// The target's id.
    pub(crate) target: u32,
}

/// Allocates pairs of ids that no other sandbox on this machine has.
#[derive(Debug)]
pub(crate) struct UserIdPool {
    source: IdSource,
}

#[derive(Debug)]
enum IdSource {
    /// A block of ids. The lock is held as long as the pool lives, so another host claims another
    /// block.
    Block { first: u32, lock: BlockLock, free: Mutex<FreeIds> },
    /// One pair for all sandboxes: an ordinary user's own id, or `nobody`.
    Shared(UserIdPair),
}

#[derive(Debug)]
struct FreeIds {
    /// The lowest index that was never allocated.
    next: u32,
    returned: Vec<u32>,
}

impl UserIdPool {
    /// Claims a block that no other host holds, by a lock file in `directory`.
    pub(crate) fn claim(directory: &Path) -> io::Result<Self> {
        let directory = directory.join("ids");
        for block in 0..BLOCKS {
            if let Some(lock) = BlockLock::try_acquire(directory.join(block.to_string()))? {
                let first = FIRST + block * BLOCK;
                let free = Mutex::new(FreeIds { next: 0, returned: Vec::new() });
                return Ok(Self { source: IdSource::Block { first, lock, free } });
            }
        }
        Err(io::Error::other(format!("all {BLOCKS} blocks of ids are taken")))
    }

    /// Returns a pool with one pair, whose target is `nobody`. The guest has another id, because an
    /// id map cannot contain an id twice.
    pub(crate) fn shared_by_root() -> Self {
        let pair = UserIdPair { guest: FIRST + BLOCK * BLOCKS, target: SHARED };
        Self { source: IdSource::Shared(pair) }
    }

    /// Returns a pool with an ordinary user's only id. The spawner's user namespace maps it to 0.
    pub(crate) fn single() -> Self {
        Self { source: IdSource::Shared(UserIdPair { guest: 0, target: 0 }) }
    }

    /// Takes an unused pair, or returns `None` if all are in use.
    pub(super) fn take(&self) -> Option<UserIdPair> {
        match &self.source {
            IdSource::Shared(pair) => Some(*pair),
            IdSource::Block { first, free, .. } => {
                let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
                let index = match free.returned.pop() {
                    Some(index) => index,
                    None if free.next < BLOCK / 2 => {
                        free.next += 1;
                        free.next - 1
                    }
                    None => return None,
                };
                Some(UserIdPair { guest: first + 2 * index, target: first + 2 * index + 1 })
            }
        }
    }

    /// Takes a pair back, once no process runs under it.
    pub(super) fn put_back(&self, pair: UserIdPair) {
        if let IdSource::Block { first, free, .. } = &self.source {
            let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
            free.returned.push((pair.guest - first) / 2);
        }
    }

    /// Describes the ids, for people.
    pub(crate) fn describe(&self) -> String {
        match &self.source {
            IdSource::Block { first, lock, .. } => {
                format!(
                    "two of {BLOCK} user ids from {first} for each sandbox, locked by {}",
                    lock.path.display()
                )
            }
            IdSource::Shared(pair) => format!("user id {} for all sandboxes", pair.target),
        }
    }
}

/// A locked file, removed on drop.
#[derive(Debug)]
struct BlockLock {
    path: PathBuf,
    /// The kernel releases the lock when the file is closed, also if the host is killed.
    _file: File,
}

impl BlockLock {
    /// Locks a file, or returns `None` if another host has locked it.
    fn try_acquire(path: PathBuf) -> io::Result<Option<Self>> {
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
            // The previous owner may have removed the file between opening and locking. The lock is
            // then on a file that no other host can find.
            let is_current = fs::metadata(&path).is_ok_and(|found| {
                file.metadata()
                    .is_ok_and(|locked| (locked.dev(), locked.ino()) == (found.dev(), found.ino()))
            });
            if is_current {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for BlockLock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a lock file");
        }
        // The last lock in a directory removes the directory too.
        for directory in self.path.ancestors().skip(1).take(2) {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn id_pairs_are_unique_across_two_hosts() {
        let directory = std::env::temp_dir().join(format!("crucible-ids-{}", std::process::id()));
        let one = UserIdPool::claim(&directory).unwrap();
        let other = UserIdPool::claim(&directory).unwrap();
        let mut seen = BTreeSet::new();
        for ids in [&one, &other] {
            while let Some(pair) = ids.take() {
                assert!(seen.insert(pair.guest) && seen.insert(pair.target));
            }
        }
        assert_eq!(seen.len(), 2 * BLOCK as usize);
        let pair = UserIdPair { guest: FIRST + 14, target: FIRST + 15 };
        one.put_back(pair);
        assert_eq!(one.take(), Some(pair));
        assert_eq!(one.take(), None);
        drop(one);
        assert_eq!(UserIdPool::claim(&directory).unwrap().take().unwrap().guest, FIRST);
        drop(other);
        assert!(!directory.exists(), "the last lock removes the directory");
    }
}
