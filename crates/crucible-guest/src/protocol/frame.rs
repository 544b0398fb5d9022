//! Frames: the messages between host and guest, over a stream.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The version of the protocol. Guest and host of one build always agree. A guest that another
/// build placed into a container reports its own version in `Ready`.
pub const VERSION: u32 = 3;
/// The size of a frame's header.
pub const HEADER_SIZE: usize = 12;
/// The maximum number of bytes of payload that the guest accepts. Arguments and environment have at
/// most 2 MiB.
pub const PAYLOAD_MAX_TO_GUEST: usize = 4 * 1024 * 1024;
/// The maximum number of bytes of payload that the host accepts. The guest splits longer answers
/// into several frames.
pub const PAYLOAD_MAX_TO_HOST: usize = 256 * 1024;
/// The TCP port of the host's proxy, on the loopback of a sandbox with an allow-list. Most proxies
/// use this port. The sandbox has a network namespace of its own, in which nothing else listens.
pub const PROXY_PORT: u16 = 3128;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal,)*) => {
        /// The kind of a frame.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum FrameKind {
            $($(#[$doc])* $variant = $number,)*
        }

        impl FrameKind {
            /// Returns the kind with this number.
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
    /// To the guest: close the standard input of the command.
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
    /// To the guest: report the resource usage of the sandbox.
    Measure = 9,
    /// To a slot without an open sandbox: open one, see [`SandboxPlan`](super::SandboxPlan). The
    /// message contains the plan's file descriptors.
    Next = 10,
    /// To the guest: write these bytes to the file descriptor in the message, after all earlier
    /// requests. A program waits for them, so that the guest kills everything if the write fails.
    WriteFd = 11,
    /// To the host, from the spawner: the guest exists, see [`Opened`](super::Opened). The
    /// message contains its pidfd.
    Opened = 64,
    /// To the host: the sandbox is ready, see [`Ready`](super::Ready).
    Ready = 65,
    /// To the host: the command runs, see [`Started`](super::Started).
    Started = 66,
    /// To the host: bytes of the command's standard output.
    Stdout = 67,
    /// To the host: bytes of the command's standard error.
    Stderr = 68,
    /// To the host: the command has ended, see [`Exited`](super::Exited).
    Exited = 69,
    /// To the host: the processes that remained after the command have ended, and their number
    /// (four bytes).
    Empty = 70,
    /// To the host: the request succeeded.
    Done = 71,
    /// To the host: bytes of a file, after one byte that is 1 if these are the last.
    Data = 72,
    /// To the host: entries of a directory, see [`Entries`](super::Entries).
    Entries = 73,
    /// To the host: the request failed, see [`Failure`](super::Failure).
    Failed = 74,
    /// To the host: the program could not be executed, see [`ExecFailed`](super::ExecFailed).
    ExecFailed = 75,
    /// To the host: the resource usage of the sandbox, see [`ProcUsage`](super::ProcUsage).
    Usage = 76,
    /// To the host, before `Ready`: the message contains a socket that listens on [`PROXY_PORT`] of
    /// the sandbox's own loopback.
    EgressListener = 77,
    /// To the host, before `Exited`, from a guest that can read its cgroup: the counters, see
    /// [`CgroupCounts`](super::CgroupCounts).
    CgroupCounts = 78,
    /// To the host, from a slot: the sandbox and everything in it have ended. Contains the guest's
    /// wait status (four bytes).
    SandboxExited = 79,
}

/// The header of a frame. The payload follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The kind of the frame.
    pub kind: FrameKind,
    /// The id of the request, or of the request that the frame answers.
    pub id: u32,
    /// The length of the payload in bytes.
    pub length: u32,
}

impl Header {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.length)?;
        writer.u8(self.kind as u8)?;
        writer.raw(&[0; 3])?;
        writer.u32(self.id)
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// Returns an error if the kind is unknown, if reserved bytes are set, or if the payload would
    /// be longer than `payload_max`.
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
