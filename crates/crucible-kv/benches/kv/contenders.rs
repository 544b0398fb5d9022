//! The compared stores.

use std::path::Path;

use crucible_kv::testing::MemoryBackend;
use crucible_kv::{Durability, Store};

/// A store to measure.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Whether the store is on disk.
    pub(crate) is_on_disk: bool,
    open: fn(&Path) -> Store,
}

impl Contender {
    /// Opens the store in a directory.
    pub(crate) fn store(&self, directory: &Path) -> Store {
        (self.open)(directory)
    }
}

macro_rules! on_disk {
    ($name:literal, $backend:ident, $durability:ident) => {
        Contender {
            name: $name,
            is_on_disk: true,
            open: |directory| {
                let backend = crucible_kv::$backend::open(directory).expect("a backend");
                Store::open(backend, Durability::$durability).expect("a store")
            },
        }
    };
}

pub(crate) static CONTENDERS: &[Contender] = &[
    Contender {
        name: "memory, not durable",
        is_on_disk: false,
        open: |_| Store::open(MemoryBackend::new(), Durability::Power).expect("a store"),
    },
    #[cfg(feature = "redb")]
    on_disk!("redb", RedbBackend, Power),
    #[cfg(feature = "sled")]
    on_disk!("sled, at process", SledBackend, Process),
];
