//! The host's half of the conversation with the guest agent: what every engine with a guest shares, however its bytes travel.
//!
//! An engine brings a [`Channel`]: something that sends a frame and reads one. This crate has the rest:
//!
//! - [`Frames`] cuts bytes into frames, and [`ResponseRouter`] keeps answers until whoever asked takes them, within bounds;
//! - [`request`] encodes, [`files`] puts, reads and lists files;
//! - [`CommandSupervisor`] follows one command to its end and ends it when it must, with a [`KillLog`] of who was killed and why, a
//!   [`Meter`] of what it wrote and a [`CpuWatch`];
//! - [`EvidenceBuilder`] makes evidence and usage of what is known then;
//! - [`ReadyPool`] keeps sandboxes that were made before anybody asked for them.
//!
//! Every byte from a guest is hostile: what it says is decoded with bounds, each thing that it may say once is heard once, and
//! nothing is waited for without a deadline. An error is [`EngineError::Protocol`](crucible_core::EngineError) or
//! [`Lost`](crucible_core::EngineError), never a verdict.

#![forbid(unsafe_code)]

mod channel;
mod control;
mod counters;
mod desk;
pub mod errors;
mod facts;
pub mod files;
mod frames;
mod given_up;
mod ledger;
mod meter;
pub mod request;
mod status;
mod warm;
mod watch;

pub use channel::{Channel, ChannelExt};
pub use control::{
    CommandSupervisor, End, Exchange, KILL_CONFIRM, RECEIVER_GRACE, SETUP_TIMEOUT,
    guest_deadline_us, wire,
};
pub use counters::CgroupCounters;
pub use desk::{Disconnected, PendingRequest, ResponseRouter};
pub use facts::EvidenceBuilder;
pub use frames::{Frame, Frames, InvalidFrame};
pub use given_up::PoisonOnDrop;
pub use ledger::KillLog;
pub use meter::Meter;
pub use status::Status;
pub use warm::{ReadyPool, ReadyStats};
pub use watch::{CpuWatch, measure};
