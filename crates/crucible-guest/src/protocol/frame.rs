//! Frames: what travels between host and guest, over a stream.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The version of the protocol. Guest and host of one build always agree; a guest that was placed into a container by
/// another build says its own in `ready`.
pub const VERSION: u32 = 3;
/// The size of a frame's header.
pub const HEADER_SIZE: usize = 12;
/// The most bytes of payload that the guest accepts: arguments and environment (2 MiB) and then some.
pub const PAYLOAD_MAX_TO_GUEST: usize = 4 * 1024 * 1024;
/// The most bytes of payload that the host accepts. The guest cuts what is longer into several frames.
pub const PAYLOAD_MAX_TO_HOST: usize = 256 * 1024;
/// The TCP port, on the loopback of a sandbox with an allow-list, behind which the host's proxy is. That of most proxies;
/// whatever runs inside has a network namespace of its own, in which nothing else listens.
pub const PROXY_PORT: u16 = 3128;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal,)*) => {
        /// What a frame says.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum FrameKind {
            $($(#[$doc])* $variant = $number,)*
        }

        impl FrameKind {
            /// The kind with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// To the guest: run a command, see [`Exec`](super::Exec).
    Exec = 1,
    /// To the guest: bytes for the standard input of the command.
    Stdin = 2,
    /// To the guest: the standard input of the command ends here.
    CloseStdin = 3,
    /// To the guest: send a signal (four bytes) to the command, or to everything (one byte, 1).
    Signal = 4,
    /// To the guest: write a file, see [`WriteRequest`](super::WriteRequest).
    Write = 5,
    /// To the guest: read a file, see [`ReadRequest`](super::ReadRequest).
    Read = 6,
    /// To the guest: list a directory, see [`ListRequest`](super::ListRequest).
    List = 7,
    /// To the guest: end everything.
    Close = 8,
    /// To the guest: what does the sandbox use?
    Measure = 9,
    /// To a slot in which no sandbox is open: open one, see [`SandboxPlan`](super::SandboxPlan). What it joins comes along, as with that.
    Next = 10,
    /// To the guest: write these bytes to the descriptor that comes along, once all that was asked before is done. Whatever runs waits for
    /// them: if they cannot be had, everything is ended.
    WriteFd = 11,
    /// To the host, from the spawner: the guest exists, see [`Opened`](super::Opened). Its pidfd comes along.
    Opened = 64,
    /// To the host: the sandbox stands, see [`Ready`](super::Ready).
    Ready = 65,
    /// To the host: the command runs, see [`Started`](super::Started).
    Started = 66,
    /// To the host: bytes of the command's standard output.
    Stdout = 67,
    /// To the host: bytes of the command's standard error.
    Stderr = 68,
    /// To the host: the command has ended, see [`Exited`](super::Exited).
    Exited = 69,
    /// To the host: what the command had left behind has ended too: how many there were (four bytes).
    Empty = 70,
    /// To the host: the request was carried out.
    Done = 71,
    /// To the host: bytes of a file, after one byte that is 1 if these are the last.
    Data = 72,
    /// To the host: entries of a directory, see [`Entries`](super::Entries).
    Entries = 73,
    /// To the host: the request failed, see [`Failure`](super::Failure).
    Failed = 74,
    /// To the host: the program could not be executed, see [`ExecFailed`](super::ExecFailed).
    ExecFailed = 75,
    /// To the host: what the sandbox uses, see [`ProcUsage`](super::ProcUsage).
    Usage = 76,
    /// To the host, before `Ready`: the sandbox's way out. A socket that listens on [`PROXY_PORT`] of the sandbox's own
    /// loopback comes along.
    EgressListener = 77,
    /// To the host, before `Exited`, from a guest that sees the cgroup it is in: what was counted, see
    /// [`CgroupCounts`](super::CgroupCounts).
    CgroupCounts = 78,
    /// To the host, from a slot: the sandbox has ended, and everything in it: the guest's wait status (four bytes).
    SandboxExited = 79,
}

/// The header of a frame. The payload follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame says.
    pub kind: FrameKind,
    /// The request that it is, or that it answers.
    pub id: u32,
    /// How many bytes of payload follow.
    pub length: u32,
}

impl Header {
    /// Writes the header.
    ///
    /// # Errors
    /// There is no room.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.length)?;
        writer.u8(self.kind as u8)?;
        writer.raw(&[0; 3])?;
        writer.u32(self.id)
    }

    /// Reads a header; `payload_max` is what the reader accepts.
    ///
    /// # Errors
    /// The kind is unknown, reserved bytes are set, or the payload would be longer than `payload_max`.
    pub fn decode(bytes: &[u8; HEADER_SIZE], payload_max: usize) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(bytes);
        let length = reader.u32()?;
        let kind = FrameKind::from_number(reader.u8()?).ok_or(Malformed)?;
        let reserved = reader.raw(3)?;
        let id = reader.u32()?;
        if reserved != [0; 3] || usize::try_from(length).map_err(|_| Malformed)? > payload_max {
            return Err(Malformed);
        }
        Ok(Self { kind, id, length })
    }
}
