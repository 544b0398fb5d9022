//! Packets to the spawner: how it is to set itself up, and what it is to open.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The most bytes of a packet. A file of the template that is longer comes in several.
pub const PACKET_MAX: usize = 64 * 1024;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal,)*) => {
        /// What a packet says: its first byte.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum PacketKind {
            $($(#[$doc])* $variant = $number,)*
        }

        impl PacketKind {
            /// The kind with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// To the spawner, first of all: see [`Init`].
    Init = 1,
    /// To the spawner: an operation of the root template, see [`TemplateOp`].
    Template = 2,
    /// To the spawner: the template is complete. Enter it, and drop what is no longer needed.
    Seal = 3,
    /// To the spawner: open a sandbox, see [`SandboxPlan`](super::SandboxPlan).
    Open = 4,
    /// To the spawner: make a network namespace for the pool.
    MakeNetwork = 5,
    /// To the host: what was asked for is done. Network namespaces come along.
    Done = 64,
    /// To the host: the template is sealed. The listener of the seccomp filter comes along, or see [`SealReply`].
    Sealed = 66,
    /// To the host: it failed, see [`Failure`](super::Failure).
    Failed = 65,
}

/// How the spawner is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InitFlags(pub u32);

impl InitFlags {
    /// The host is an ordinary user: the spawner needs a user namespace of its own to mount anything.
    pub const OWN_USER_NAMESPACE: Self = Self(1);
    /// Load the seccomp filter.
    pub const SECCOMP: Self = Self(2);
    /// The filter admits TCP sockets: the network policy has a way out.
    pub const INET: Self = Self(4);

    const ALL: u32 = (1 << 3) - 1;

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The template is sealed, and the filter loaded if it was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealReply {
    /// Why no listener comes along: the error number of seccomp(2); 0 if one does, or if there is no filter.
    pub no_listener: i32,
}

impl SealReply {
    /// Writes the reply.
    ///
    /// # Errors
    /// There is no room.
    pub fn encode(self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.i32(self.no_listener)
    }

    /// Reads the reply.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(body);
        let no_listener = reader.i32()?;
        reader.end()?;
        Ok(Self { no_listener })
    }
}

/// How the spawner is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init<'a> {
    /// What it does.
    pub flags: InitFlags,
    /// The host's effective user id, for the map of an own user namespace.
    pub uid: u32,
    /// The host's effective group id, likewise.
    pub gid: u32,
    /// A directory of the host on which the template is mounted, with its NUL. Nobody outside sees the mount.
    pub mount_point: &'a [u8],
}

impl<'a> Init<'a> {
    /// Writes the request.
    ///
    /// # Errors
    /// There is no room.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.flags.0)?;
        writer.u32(self.uid)?;
        writer.u32(self.gid)?;
        writer.bytes(self.mount_point)
    }

    /// Reads the request.
    ///
    /// # Errors
    /// It is malformed.
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

/// An operation of the root template. Paths are relative to the template's root, sources absolute on the host; all with
/// their NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateOp<'a> {
    /// Make a directory.
    Directory {
        /// Where.
        path: &'a [u8],
        /// Its permission bits.
        mode: u32,
    },
    /// Make a symbolic link.
    Link {
        /// Where.
        path: &'a [u8],
        /// What it says.
        target: &'a [u8],
    },
    /// Make a file, or append to the one made just before.
    File {
        /// Where.
        path: &'a [u8],
        /// Its permission bits.
        mode: u32,
        /// The bytes.
        data: &'a [u8],
    },
    /// Show a directory or a file of the host, read-only, without devices and set-user-id programs.
    Bind {
        /// The host's.
        source: &'a [u8],
        /// Where; it must be there.
        path: &'a [u8],
    },
    /// Make a character device; as an ordinary user, show the host's.
    Device {
        /// The host's, for the latter.
        source: &'a [u8],
        /// Where.
        path: &'a [u8],
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// Show the host's `/proc`, so that sandboxes may mount their own.
    Proc {
        /// Where; it must be there.
        path: &'a [u8],
    },
}

impl<'a> TemplateOp<'a> {
    /// Writes the operation.
    ///
    /// # Errors
    /// There is no room.
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
    /// It is malformed.
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

/// A byte string that ends with its only NUL and is not empty.
fn text<'a>(reader: &mut WireReader<'a>) -> Result<&'a [u8], Malformed> {
    let bytes = reader.bytes()?;
    match bytes.split_last() {
        Some((0, rest)) if !rest.is_empty() && !rest.contains(&0) => Ok(bytes),
        _ => Err(Malformed),
    }
}
