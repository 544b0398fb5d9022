//! A write-ahead log in front of a redb tree.

mod backend;
mod checkpointer;
#[cfg(test)]
mod crash_tests;
mod data_file;
mod disk;
mod highest_keys;
#[cfg(test)]
mod simulated_disk;
mod tree;
mod wal;
mod wal_record;
mod wal_tree;

pub use backend::RedbBackend;
