//! The places of a container that can be written to: a file system each, and one bound for all.

use super::errno::Result;
use super::sys::{self, Fd, O_CLOEXEC, O_DIRECTORY, O_PATH, Room};
use crate::protocol::Layers;

/// What the kernel rounds a size up to.
const PAGE: u64 = 4096;

pub(crate) struct Disk {
    places: [Fd; 3],
    bytes: u64,
    inodes: u64,
}

impl Disk {
    pub(crate) fn open(bytes: u64, inodes: u64) -> Result<Self> {
        let open = |path| sys::open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        Ok(Self { places: [open(c"/box")?, open(c"/tmp")?, open(c"/dev/shm")?], bytes, inodes })
    }

    fn rooms(&self) -> impl Iterator<Item = Option<Room>> + '_ {
        self.places.iter().map(|place| sys::room(*place).ok())
    }

    /// Which bounds hold for each of the places.
    pub(crate) fn layers(&self) -> Layers {
        let holds = |bound: &dyn Fn(Room) -> bool| self.rooms().all(|room| room.is_some_and(bound));
        let mut layers = Layers::default();
        if holds(&|room| room.bytes > 0 && room.bytes <= self.bytes.next_multiple_of(PAGE)) {
            layers = layers.with(Layers::DISK_BYTES);
        }
        if holds(&|room| room.inodes > 0 && room.inodes <= self.inodes.saturating_add(1)) {
            layers = layers.with(Layers::DISK_INODES);
        }
        layers
    }

    /// What is left of the least place, and of what may be used of all together. A place itself takes an inode.
    pub(crate) fn left(&self) -> Room {
        let mut left = Room {
            bytes: self.bytes,
            inodes: self.inodes,
            free_bytes: u64::MAX,
            free_inodes: u64::MAX,
        };
        let (mut bytes, mut inodes) = (0_u64, 0_u64);
        for room in self.rooms().flatten() {
            left.free_bytes = left.free_bytes.min(room.free_bytes);
            bytes = bytes.saturating_add(room.bytes.saturating_sub(room.free_bytes));
            // Some kernels do not count inodes.
            if room.inodes > 0 {
                left.free_inodes = left.free_inodes.min(room.free_inodes);
                inodes = inodes
                    .saturating_add(room.inodes.saturating_sub(room.free_inodes).saturating_sub(1));
            }
        }
        left.free_bytes = left.free_bytes.min(self.bytes.saturating_sub(bytes));
        left.free_inodes = left.free_inodes.min(self.inodes.saturating_sub(inodes));
        left
    }
}
