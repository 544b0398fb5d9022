//! The request to run a command.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The value of [`Exec::stdio`] that passes the three standard streams as file descriptors, in
/// order. Otherwise they travel as `Stdin`, `Stdout` and `Stderr` frames.
pub const STDIO_PASSED: u8 = 1;

/// The treatment of the processes that remain after the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OnExit {
    /// They continue.
    KeepBackground = 0,
    /// The guest kills them before the exit is complete.
    KillBackground = 1,
    /// The guest kills them and ends: the host sends no further request.
    Seal = 2,
}

impl OnExit {
    fn from_number(number: u8) -> Result<Self, Malformed> {
        match number {
            0 => Ok(Self::KeepBackground),
            1 => Ok(Self::KillBackground),
            2 => Ok(Self::Seal),
            _ => Err(Malformed),
        }
    }
}

/// A resource limit of the target (setrlimit(2)): soft and hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// The number of the resource, such as `RLIMIT_NOFILE`.
    pub resource: u32,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// NUL-terminated strings, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strings<'a> {
    /// The number of strings.
    pub count: u32,
    /// The strings, each with its NUL.
    pub bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// Creates the list of the `count` strings in `bytes`, each with its NUL.
    ///
    /// # Errors
    ///
    /// Returns an error if `bytes` contains more or fewer strings.
    pub fn new(count: u32, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let nuls = bytes.iter().filter(|byte| **byte == 0).count();
        let terminated = bytes.last().is_none_or(|last| *last == 0);
        if terminated && u32::try_from(nuls) == Ok(count) {
            Ok(Self { count, bytes })
        } else {
            Err(Malformed)
        }
    }

    /// Returns the strings, each with its NUL.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.bytes.split_inclusive(|byte| *byte == 0)
    }
}

/// The request to run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exec<'a> {
    /// [`STDIO_PASSED`] or 0.
    pub stdio: u8,
    /// The treatment of the processes that remain after the command.
    pub on_exit: OnExit,
    /// Whether the `Started` frame contains the target's status file (proc(5)).
    pub status: bool,
    /// The delay of the `Started` frame in microseconds. If the command ends first, both frames
    /// arrive together. Applies only if the streams are passed.
    pub quiet_us: u32,
    /// Whether the host receives the sandbox's mount namespace when the guest ends with the
    /// command. The guest then does not wait for the teardown of the mounts.
    pub lend_mounts: bool,
    /// The time in microseconds after which the guest kills the command, in case the host does not;
    /// 0 for never.
    pub deadline_us: u64,
    /// The target's resource limits, as [`Rlimit::encode`] writes them; see [`Exec::rlimits`].
    pub rlimits: &'a [u8],
    /// The directory to start in, beneath `/box`, with its NUL.
    pub directory: &'a [u8],
    /// The program and its arguments.
    pub argv: Strings<'a>,
    /// The environment, as `NAME=value`.
    pub env: Strings<'a>,
}

const RLIMIT_SIZE: usize = 20;

impl<'a> Exec<'a> {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u8(self.stdio)?;
        writer.u8(self.on_exit as u8)?;
        writer.u8(u8::from(self.status))?;
        writer.u32(self.quiet_us)?;
        writer.u8(u8::from(self.lend_mounts))?;
        writer.u64(self.deadline_us)?;
        writer.bytes(self.rlimits)?;
        writer.bytes(self.directory)?;
        for strings in [self.argv, self.env] {
            writer.u32(strings.count)?;
            writer.bytes(strings.bytes)?;
        }
        Ok(())
    }

    /// Reads the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the request is malformed or contains no program.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let stdio = reader.u8()?;
        let on_exit = OnExit::from_number(reader.u8()?)?;
        let status = reader.u8()?;
        let quiet_us = reader.u32()?;
        let lend_mounts = reader.u8()?;
        let deadline_us = reader.u64()?;
        let rlimits = reader.bytes()?;
        let directory = reader.bytes()?;
        let argv = Strings::new(reader.u32()?, reader.bytes()?)?;
        let env = Strings::new(reader.u32()?, reader.bytes()?)?;
        reader.end()?;
        let sound = stdio <= STDIO_PASSED
            && status <= 1
            && lend_mounts <= 1
            && rlimits.len() % RLIMIT_SIZE == 0
            && Strings::new(1, directory).is_ok()
            && argv.count > 0;
        if sound {
            let (status, lend_mounts) = (status == 1, lend_mounts == 1);
            Ok(Self {
                stdio,
                on_exit,
                status,
                quiet_us,
                lend_mounts,
                deadline_us,
                rlimits,
                directory,
                argv,
                env,
            })
        } else {
            Err(Malformed)
        }
    }

    /// Returns the resource limits.
    pub fn rlimits(&self) -> impl Iterator<Item = Rlimit> + 'a {
        self.rlimits.chunks_exact(RLIMIT_SIZE).filter_map(|chunk| {
            let mut reader = WireReader::new(chunk);
            Some(Rlimit {
                resource: reader.u32().ok()?,
                soft: reader.u64().ok()?,
                hard: reader.u64().ok()?,
            })
        })
    }
}

impl Rlimit {
    /// Writes the limit in the format of [`Exec::rlimits`].
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.resource)?;
        writer.u64(self.soft)?;
        writer.u64(self.hard)
    }
}
