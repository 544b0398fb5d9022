//! Packets to the spawner: its configuration, and requests to open sandboxes.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The maximum number of bytes of a packet. A longer file of the template is sent in several
/// packets.
pub const PACKET_MAX: usize = 64 * 1024;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal,)*) => {
        /// The kind of a packet: its first byte.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum PacketKind {
            $($(#[$doc])* $variant = $number,)*
        }

        impl PacketKind {
            /// Returns the kind with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// To the spawner, as the first packet: see [`Init`].
    Init = 1,
    /// To the spawner: an operation of the root template, see [`TemplateOp`].
    Template = 2,
    /// To the spawner: the template is complete. Enter it, and load the filter.
    Seal = 3,
    /// To the spawner: open a sandbox, see [`SandboxPlan`](super::SandboxPlan).
    Open = 4,
    /// To the spawner: create a network namespace for the pool.
    MakeNetwork = 5,
    /// To the host: the request succeeded. The message contains a requested network namespace.
    Done = 64,
    /// To the host: the template is sealed, see [`SealReply`]. The message contains the listener of
    /// the seccomp filter, if there is one.
    Sealed = 66,
    /// To the host: the request failed, see [`Failure`](super::Failure).
    Failed = 65,
}

/// Options of the spawner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InitFlags(pub u32);

impl InitFlags {
    /// The host is an ordinary user: the spawner needs a user namespace of its own to mount file
    /// systems.
    pub const OWN_USER_NAMESPACE: Self = Self(1);
    /// Load the seccomp filter.
    pub const SECCOMP: Self = Self(2);
    /// The filter allows TCP sockets, because the network policy permits egress.
    pub const INET: Self = Self(4);

    const ALL: u32 = (1 << 3) - 1;

    /// Returns the union of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns `true` if all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The template is sealed, and the filter is loaded if it was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealReply {
    /// The error number of seccomp(2) that explains a missing listener. 0 if there is a listener,
    /// or no filter.
    pub no_listener: i32,
}

impl SealReply {
    /// Writes the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.i32(self.no_listener)
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(body);
        let no_listener = reader.i32()?;
        reader.end()?;
        Ok(Self { no_listener })
    }
}

/// The configuration of the spawner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init<'a> {
    /// Its options.
    pub flags: InitFlags,
    /// The host's effective user id, for the map of the spawner's own user namespace.
    pub uid: u32,
    /// The host's effective group id, for the same map.
    pub gid: u32,
    /// A directory of the host on which the template is mounted, with its NUL. The mount is
    /// invisible outside of the spawner.
    pub mount_point: &'a [u8],
}

impl<'a> Init<'a> {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.flags.0)?;
        writer.u32(self.uid)?;
        writer.u32(self.gid)?;
        writer.bytes(self.mount_point)
    }

    /// Reads the request.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(reader: &mut WireReader<'a>) -> Result<Self, Malformed> {
        let init = Self {
            flags: InitFlags(reader.u32()?),
            uid: reader.u32()?,
            gid: reader.u32()?,
            mount_point: text(reader)?,
        };
        reader.end()?;
        if init.flags.0 & !InitFlags::ALL == 0 { Ok(init) } else { Err(Malformed) }
    }
}

/// An operation of the root template. Paths are relative to the template's root, and sources are
/// absolute paths of the host. All end with a NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateOp<'a> {
    /// Creates a directory.
    Directory {
        /// Its path.
        path: &'a [u8],
        /// Its permission bits.
        mode: u32,
    },
    /// Creates a symbolic link.
    Link {
        /// Its path.
        path: &'a [u8],
        /// Its content.
        target: &'a [u8],
    },
    /// Creates a file, or appends to an existing one.
    File {
        /// Its path.
        path: &'a [u8],
        /// Its permission bits.
        mode: u32,
        /// Its content, or the next piece of it.
        data: &'a [u8],
    },
    /// Binds a directory or a file of the host, read-only, without devices and set-user-id
    /// programs.
    Bind {
        /// The path on the host.
        source: &'a [u8],
        /// Its path, which must exist.
        path: &'a [u8],
    },
    /// Creates a character device. As an ordinary user, binds the host's.
    Device {
        /// The path on the host, for an ordinary user.
        source: &'a [u8],
        /// Its path.
        path: &'a [u8],
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// Mounts a `/proc`, so that sandboxes may mount their own.
    Proc {
        /// Its path, which must exist.
        path: &'a [u8],
    },
}

impl<'a> TemplateOp<'a> {
    /// Writes the operation.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        match *self {
            Self::Directory { path, mode } => {
                writer.u8(1)?;
                writer.bytes(path)?;
                writer.u32(mode)
            }
            Self::Link { path, target } => {
                writer.u8(2)?;
                writer.bytes(path)?;
                writer.bytes(target)
            }
            Self::File { path, mode, data } => {
                writer.u8(3)?;
                writer.bytes(path)?;
                writer.u32(mode)?;
                writer.bytes(data)
            }
            Self::Bind { source, path } => {
                writer.u8(4)?;
                writer.bytes(source)?;
                writer.bytes(path)
            }
            Self::Device { source, path, major, minor } => {
                writer.u8(5)?;
                writer.bytes(source)?;
                writer.bytes(path)?;
                writer.u32(major)?;
                writer.u32(minor)
            }
            Self::Proc { path } => {
                writer.u8(6)?;
                writer.bytes(path)
            }
        }
    }

    /// Reads the operation.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(reader: &mut WireReader<'a>) -> Result<Self, Malformed> {
        let op = match reader.u8()? {
            1 => Self::Directory { path: text(reader)?, mode: reader.u32()? },
            2 => Self::Link { path: text(reader)?, target: text(reader)? },
            3 => Self::File { path: text(reader)?, mode: reader.u32()?, data: reader.bytes()? },
            4 => Self::Bind { source: text(reader)?, path: text(reader)? },
            5 => Self::Device {
                source: text(reader)?,
                path: text(reader)?,
                major: reader.u32()?,
                minor: reader.u32()?,
            },
            6 => Self::Proc { path: text(reader)? },
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(op)
    }
}

/// Reads a byte string that is not empty and ends with its only NUL.
fn text<'a>(reader: &mut WireReader<'a>) -> Result<&'a [u8], Malformed> {
    let bytes = reader.bytes()?;
    match bytes.split_last() {
        Some((0, rest)) if !rest.is_empty() && !rest.contains(&0) => Ok(bytes),
        _ => Err(Malformed),
    }
}
