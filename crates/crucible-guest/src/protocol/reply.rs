//! The guest's replies.

use super::cgroup::CgroupCounts;
use super::codec::{Malformed, Overflow, WireReader, WireWriter};
use super::frame::VERSION;
use super::step::Step;

/// The guest exists. The message contains its pidfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The process id of the guest, in the spawner's namespace.
    pub pid: u32,
}

impl Opened {
    /// Writes the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.pid)
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let pid = reader.u32()?;
        reader.end()?;
        Ok(Self { pid })
    }
}

/// The sandbox is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready<'a> {
    /// The version of the guest's protocol.
    pub version: u32,
    /// The layers that the guest has added or found. Empty if the engine adds them.
    pub layers: Layers,
    /// The counters of its cgroup at that time. They include the creation of the container.
    pub counted: CgroupCounts,
    /// The guest's own status file (proc(5)), truncated if it is too long.
    pub status: &'a [u8],
}

impl<'a> Ready<'a> {
    /// Writes the reply of this build's guest.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(
        layers: Layers,
        counted: CgroupCounts,
        status: &[u8],
        writer: &mut WireWriter<'_>,
    ) -> Result<(), Overflow> {
        writer.u32(VERSION)?;
        writer.u32(layers.0)?;
        counted.encode(writer)?;
        writer.raw(status)
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let version = reader.u32()?;
        let layers = Layers(reader.u32()?);
        let counted = CgroupCounts::decode(reader.raw(CgroupCounts::SIZE)?)?;
        Ok(Self { version, layers, counted, status: reader.rest() })
    }
}

/// The set of layers of a container: those that its guest has added, and those that it found in
/// force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layers(pub u32);

impl Layers {
    /// `no_new_privs`.
    pub const NO_NEW_PRIVS: Self = Self(1);
    /// No process can gain a capability.
    pub const CAPABILITIES: Self = Self(1 << 1);
    /// The policy's filter.
    pub const SECCOMP: Self = Self(1 << 2);
    /// The Landlock ruleset.
    pub const LANDLOCK: Self = Self(1 << 3);
    /// The guest is process 1.
    pub const INIT: Self = Self(1 << 6);
    /// The root directory is read-only.
    pub const READ_ONLY_ROOT: Self = Self(1 << 7);
    /// The loopback is the only network interface.
    pub const NO_NETWORK: Self = Self(1 << 8);
    /// User ids inside differ from those outside.
    pub const USER_NAMESPACE: Self = Self(1 << 9);
    /// The writable file systems have a limit in bytes.
    pub const DISK_BYTES: Self = Self(1 << 10);
    /// The writable file systems have a limit in inodes.
    pub const DISK_INODES: Self = Self(1 << 11);
    /// The guest can read the counters of its cgroups, of version 1.
    pub const CGROUP_V1: Self = Self(1 << 4);
    /// The guest can read the counters of its cgroup, of version 2.
    pub const CGROUP_V2: Self = Self(1 << 5);

    /// Returns the union of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns `true` if the set contains all layers of `other`.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The confinement of a command, as the kernel reported it to the command right before execve(2).
///
/// execve(2) removes nothing from it, and grants no privilege if `no_new_privs` is set. If the
/// kernel refuses to answer, the value assumes no confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// Effective, permitted and inheritable capabilities together (capget(2)).
    pub capabilities: u64,
    /// Whether `PR_GET_NO_NEW_PRIVS` is 1 (PR_SET_NO_NEW_PRIVS(2const)).
    pub no_new_privs: bool,
    /// `PR_GET_SECCOMP`: 2 if the process has filters.
    pub seccomp: u8,
}

impl Confinement {
    /// No confinement.
    pub const NONE: Self = Self { capabilities: u64::MAX, no_new_privs: false, seccomp: 0 };
}

/// The command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started<'a> {
    /// The process id of the command in the sandbox's namespace.
    pub pid: u32,
    /// The time since its start, in microseconds.
    pub ran_us: u64,
    /// Its confinement as the kernel reports it.
    pub confinement: Confinement,
    /// The command's status file (proc(5)) right after execve(2), if it was requested.
    pub status: &'a [u8],
}

impl<'a> Started<'a> {
    /// Writes the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.pid)?;
        writer.u64(self.ran_us)?;
        writer.u64(self.confinement.capabilities)?;
        writer.u8(u8::from(self.confinement.no_new_privs))?;
        writer.u8(self.confinement.seccomp)?;
        writer.raw(self.status)
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let (pid, ran_us) = (reader.u32()?, reader.u64()?);
        let (capabilities, no_new_privs, seccomp) = (reader.u64()?, reader.u8()?, reader.u8()?);
        if no_new_privs > 1 {
            return Err(Malformed);
        }
        let confinement = Confinement { capabilities, no_new_privs: no_new_privs == 1, seccomp };
        Ok(Self { pid, ran_us, confinement, status: reader.rest() })
    }
}

/// The command has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exited {
    /// The status as wait4(2) gives it.
    pub wait_status: i32,
    /// Whether the guest is the only process in the sandbox. Otherwise an `Empty` frame follows,
    /// unless the remaining processes continue.
    pub empty: bool,
    /// Whether the guest killed the command at its deadline.
    pub deadline: bool,
    /// The number of remaining processes, if `empty`.
    pub survivors: u32,
    /// From the start of the command to its end.
    pub wall_us: u64,
    /// CPU time of the command and the children it waited for, in user mode (`ru_utime`).
    pub user_us: u64,
    /// The same in kernel mode (`ru_stime`).
    pub system_us: u64,
    /// The greatest resident set of a single process, in KiB (`ru_maxrss`).
    pub maxrss_kib: u64,
    /// CPU time of the guest itself, user and system, which a cgroup counts too.
    pub guest_us: u64,
    /// Free bytes of the writable file system; `u64::MAX` if unknown.
    pub free_bytes: u64,
    /// Free inodes of it; `u64::MAX` if unknown.
    pub free_inodes: u64,
}

impl Exited {
    /// Writes the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.i32(self.wait_status)?;
        writer.u8(u8::from(self.empty) | u8::from(self.deadline) << 1)?;
        writer.u32(self.survivors)?;
        for number in [
            self.wall_us,
            self.user_us,
            self.system_us,
            self.maxrss_kib,
            self.guest_us,
            self.free_bytes,
            self.free_inodes,
        ] {
            writer.u64(number)?;
        }
        Ok(())
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let wait_status = reader.i32()?;
        let flags = reader.u8()?;
        let exited = Self {
            wait_status,
            empty: flags & 1 != 0,
            deadline: flags & 2 != 0,
            survivors: reader.u32()?,
            wall_us: reader.u64()?,
            user_us: reader.u64()?,
            system_us: reader.u64()?,
            maxrss_kib: reader.u64()?,
            guest_us: reader.u64()?,
            free_bytes: reader.u64()?,
            free_inodes: reader.u64()?,
        };
        reader.end()?;
        if flags > 3 { Err(Malformed) } else { Ok(exited) }
    }
}

/// A request, or a step of the setup of a sandbox, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// The error number (errno(3)).
    pub errno: i32,
}

impl Failure {
    /// Writes the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u16(self.step.0)?;
        writer.i32(self.errno)
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let (step, errno) = (Step(reader.u16()?), reader.i32()?);
        reader.end()?;
        Ok(Self { step, errno })
    }
}

/// The program could not be executed: execve(2), or entering its directory, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecFailed(pub Failure);

impl ExecFailed {
    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        Failure::decode(payload).map(Self)
    }
}

/// The resource usage of the sandbox according to its own `/proc`, for hosts without cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcUsage {
    /// CPU time of all processes except the guest, in user mode.
    pub user_us: u64,
    /// CPU time of all processes except the guest, in kernel mode.
    pub system_us: u64,
    /// The current number of processes and threads, without the guest.
    pub processes: u32,
}

impl ProcUsage {
    /// Writes the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u64(self.user_us)?;
        writer.u64(self.system_us)?;
        writer.u32(self.processes)
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let usage =
            Self { user_us: reader.u64()?, system_us: reader.u64()?, processes: reader.u32()? };
        reader.end()?;
        Ok(usage)
    }
}
