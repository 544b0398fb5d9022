//! The protocol between a host and the guest agent: frames over a stream, and packets to the
//! spawner.
//!
//! Host and guest compile this module, the guest without the standard library. No function
//! allocates, and none trusts its input: every length is checked against the available bytes before
//! it is used.

mod cgroup;
mod codec;
mod exec;
mod files;
mod frame;
mod reply;
mod sandbox_plan;
mod spawner;
mod step;

pub use cgroup::CgroupCounts;
pub use codec::{Malformed, Overflow, WireReader, WireWriter};
pub use exec::{Exec, OnExit, Rlimit, STDIO_PASSED, Strings};
pub use files::{Entries, EntryKind, EntryRef, ListRequest, ReadRequest, WriteRequest};
pub use frame::{
    FrameKind, HEADER_SIZE, Header, PAYLOAD_MAX_TO_GUEST, PAYLOAD_MAX_TO_HOST, PROXY_PORT, VERSION,
};
pub use reply::{
    Confinement, ExecFailed, Exited, Failure, Layers, Opened, ProcUsage, Ready, Started,
};
pub use sandbox_plan::{MAX_TASKS_FILES, PlanFlags, SandboxPlan};
pub use spawner::{Init, InitFlags, PACKET_MAX, PacketKind, SealReply, TemplateOp};
pub use step::Step;
