//! The writable file systems of a container, with one limit for all of them together.

use super::sys::{self, Fd, FreeSpace, O_CLOEXEC, O_DIRECTORY, O_PATH, Result};
use crate::protocol::Layers;

/// The unit to which the kernel rounds sizes up.
const PAGE: u64 = 4096;

/// The writable mounts, and the limit for all of them together.
pub(crate) struct WritableMounts {
    directories: [Fd; 3],
    bytes: u64,
    inodes: u64,
}

impl WritableMounts {
    /// Opens the mounts. `bytes` and `inodes` limit each of them and their sum.
    pub(crate) fn open(bytes: u64, inodes: u64) -> Result<Self> {
        let open = |path| sys::open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        let directories = [open(c"/box")?, open(c"/tmp")?, open(c"/dev/shm")?];
        Ok(Self { directories, bytes, inodes })
    }

    fn spaces(&self) -> impl Iterator<Item = Option<FreeSpace>> + '_ {
        self.directories.iter().map(|directory| sys::free_space(*directory).ok())
    }

    /// Returns the limits that are in force on each of the mounts.
    pub(crate) fn layers(&self) -> Layers {
        let holds =
            |limit: &dyn Fn(FreeSpace) -> bool| self.spaces().all(|space| space.is_some_and(limit));
        let mut layers = Layers::default();
        if holds(&|space| space.bytes > 0 && space.bytes <= self.bytes.next_multiple_of(PAGE)) {
            layers = layers.with(Layers::DISK_BYTES);
        }
        if holds(&|space| space.inodes > 0 && space.inodes <= self.inodes.saturating_add(1)) {
            layers = layers.with(Layers::DISK_INODES);
        }
        layers
    }

    /// Returns the free space of the fullest mount, or of the common limit if that is less. The
    /// root of each mount occupies one inode, which does not count.
    pub(crate) fn free_space(&self) -> FreeSpace {
        let mut free = FreeSpace {
            bytes: self.bytes,
            inodes: self.inodes,
            free_bytes: u64::MAX,
            free_inodes: u64::MAX,
        };
        let (mut used_bytes, mut used_inodes) = (0_u64, 0_u64);
        for space in self.spaces().flatten() {
            free.free_bytes = free.free_bytes.min(space.free_bytes);
            used_bytes = used_bytes.saturating_add(space.bytes.saturating_sub(space.free_bytes));
            // Some kernels do not count inodes.
            if space.inodes > 0 {
                free.free_inodes = free.free_inodes.min(space.free_inodes);
                let used = space.inodes.saturating_sub(space.free_inodes).saturating_sub(1);
                used_inodes = used_inodes.saturating_add(used);
            }
        }
        free.free_bytes = free.free_bytes.min(self.bytes.saturating_sub(used_bytes));
        free.free_inodes = free.free_inodes.min(self.inodes.saturating_sub(used_inodes));
        free
    }
}
