//! The stores that are compared.

use std::path::Path;

use crucible_kv::testing::MemoryBackend;
use crucible_kv::{Durability, Store};

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Whether it is on disk.
    pub(crate) keeps: bool,
    open: fn(&Path) -> Store,
}

impl Contender {
    pub(crate) fn store(&self, directory: &Path) -> Store {
        (self.open)(directory)
    }
}

macro_rules! on_disk {
    ($name:literal, $backend:ident, $durability:ident) => {
        Contender {
            name: $name,
            keeps: true,
            open: |directory| {
                let backend = crucible_kv::$backend::open(directory).expect("a backend");
                Store::open(backend, Durability::$durability).expect("a store")
            },
        }
    };
}

pub(crate) static CONTENDERS: &[Contender] = &[
    Contender {
        name: "memory, nothing kept",
        keeps: false,
        open: |_| Store::open(MemoryBackend::new(), Durability::Power).expect("a store"),
    },
    #[cfg(feature = "redb")]
    on_disk!("redb", RedbBackend, Power),
    #[cfg(feature = "sled")]
    on_disk!("sled, at process", SledBackend, Process),
];
