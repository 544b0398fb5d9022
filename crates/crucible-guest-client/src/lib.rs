//! The host side of the guest protocol, shared by every engine with Crucible's guest agent.
//!
//! An engine implements [`Channel`], which sends and reads frames. This crate implements the rest:
//!
//! - [`FrameDecoder`] splits bytes into frames, and [`ResponseRouter`] routes each response to its
//!   request. Both are bounded.
//! - [`request`] encodes requests. [`files`] writes, reads and lists files.
//! - [`GuestSandboxExt`] has the operations of an open sandbox, with a [`SandboxLock`] that
//!   serializes its commands.
//! - [`CommandSession`] runs one command: a [`CommandSupervisor`] follows it and kills it at its
//!   limits, a [`KillLog`] records each kill, an [`OutputMeter`] and a [`CpuWatch`] measure it.
//! - [`EvidenceBuilder`] derives evidence and usage from the recorded facts.
//! - [`ReadyPool`] keeps sandboxes that were opened ahead of time.
//!
//! Every byte from a guest is hostile. Decoding is bounded, a message that a guest may send once is
//! accepted once, and every wait has a deadline. A guest that fails or breaks the protocol causes
//! [`EngineError::Protocol`](crucible_core::EngineError) or
//! [`EngineError::Lost`](crucible_core::EngineError), never a verdict.

#![forbid(unsafe_code)]

mod cgroup_counters;
mod channel;
mod command_limits;
mod command_run;
mod command_session;
mod command_supervisor;
mod cpu_watch;
pub mod errors;
mod evidence_builder;
pub mod files;
mod frame_decoder;
mod guest_sandbox;
mod kill_log;
mod output_meter;
mod poison_on_drop;
mod process_status;
mod ready_pool;
pub mod request;
mod response_router;
mod sandbox_lock;
mod usage_account;
mod usage_baseline;

pub use cgroup_counters::CgroupCounters;
pub use channel::{Channel, ChannelExt};
pub use command_limits::CommandLimits;
pub use command_run::{CommandEnd, CommandRun};
pub use command_session::{
    CommandIo, CommandMeters, CommandSession, RECEIVER_GRACE, guest_deadline_us, wire_on_exit,
};
pub use command_supervisor::{CommandExchange, CommandSupervisor, KILL_CONFIRM};
pub use cpu_watch::CpuWatch;
pub use errors::Disconnected;
pub use evidence_builder::EvidenceBuilder;
pub use frame_decoder::{Frame, FrameDecoder, InvalidFrame};
pub use guest_sandbox::{CLOSE_GRACE, GuestSandbox, GuestSandboxExt, SETUP_TIMEOUT};
pub use kill_log::KillLog;
pub use output_meter::OutputMeter;
pub use poison_on_drop::PoisonOnDrop;
pub use process_status::ProcessStatus;
pub use ready_pool::{CheckOut, ReadyPool, ReadyStats};
pub use response_router::{Greeting, PendingRequest, ResponseRouter};
pub use sandbox_lock::SandboxLock;
pub use usage_account::UsageAccount;
pub use usage_baseline::UsageBaseline;
