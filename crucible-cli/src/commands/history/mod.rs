//! `crucible history`: the content of a data directory.

mod checkpoint;
mod dispatch;
mod export;
mod follow;
mod list;
mod purge;
mod redrive;
mod show;
mod verify;

pub(crate) use dispatch::history;
