//! The plan of a sandbox: the request to the spawner, flat and of fixed size.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The maximum number of version 1 cgroup hierarchies that a sandbox can join.
pub const MAX_TASKS_FILES: usize = 4;

/// The layers of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanFlags(pub u32);

impl PlanFlags {
    /// A new network namespace.
    pub const NEW_NETWORK: Self = Self(1);
    /// An existing network namespace, passed as a file descriptor.
    pub const ENTER_NETWORK: Self = Self(1 << 1);
    /// An IPC namespace.
    pub const IPC: Self = Self(1 << 2);
    /// A UTS namespace.
    pub const UTS: Self = Self(1 << 3);
    /// A cgroup namespace.
    pub const CGROUP: Self = Self(1 << 4);
    /// The Landlock ruleset.
    pub const LANDLOCK: Self = Self(1 << 5);
    /// Guest and target share one user id, because an ordinary user has only one.
    pub const SINGLE_ID: Self = Self(1 << 6);
    /// A version 2 cgroup, passed as a file descriptor. The guest is created in it.
    pub const INTO_CGROUP: Self = Self(1 << 7);
    /// Send `Ready` before the first request.
    pub const READY: Self = Self(1 << 8);
    /// Egress through the host's proxy, see
    /// [`FrameKind::EgressListener`](super::FrameKind::EgressListener). Requires `NEW_NETWORK`: no
    /// other sandbox ever uses that namespace.
    pub const EGRESS: Self = Self(1 << 9);

    /// A slot instead of a sandbox: a process that owns what consecutive sandboxes share. It opens
    /// one for each [`FrameKind::Next`](super::FrameKind::Next).
    pub const SLOT: Self = Self(1 << 10);

    const ALL: u32 = (1 << 11) - 1;

    /// Returns the union of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the intersection of both sets.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns `true` if all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The plan of a sandbox.
///
/// The message contains file descriptors in this order: the guest's end of its socket, the network
/// namespace (`ENTER_NETWORK`), the version 2 cgroup (`INTO_CGROUP`), `tasks_files` opened `tasks`
/// files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxPlan {
    /// Its layers.
    pub flags: PlanFlags,
    /// The number of passed version 1 `tasks` files.
    pub tasks_files: u8,
    /// The version of the Landlock ABI to use.
    pub landlock_abi: u8,
    /// The user and group id on the host that root in the sandbox maps to.
    pub outer_guest_id: u32,
    /// The user and group id on the host that the target maps to.
    pub outer_target_id: u32,
    /// The size of the writable file system.
    pub disk_bytes: u64,
    /// The number of inodes of the writable file system.
    pub inodes: u64,
}

impl SandboxPlan {
    /// Writes the plan.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(&self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        writer.u32(self.flags.0)?;
        writer.u8(self.tasks_files)?;
        writer.u8(self.landlock_abi)?;
        writer.u32(self.outer_guest_id)?;
        writer.u32(self.outer_target_id)?;
        writer.u64(self.disk_bytes)?;
        writer.u64(self.inodes)
    }

    /// Reads the plan.
    ///
    /// # Errors
    ///
    /// Returns an error if the plan is malformed or contradictory.
    pub fn decode(reader: &mut WireReader<'_>) -> Result<Self, Malformed> {
        let plan = Self {
            flags: PlanFlags(reader.u32()?),
            tasks_files: reader.u8()?,
            landlock_abi: reader.u8()?,
            outer_guest_id: reader.u32()?,
            outer_target_id: reader.u32()?,
            disk_bytes: reader.u64()?,
            inodes: reader.u64()?,
        };
        reader.end()?;
        let networks = PlanFlags::NEW_NETWORK.with(PlanFlags::ENTER_NETWORK);
        let sound = plan.flags.0 & !PlanFlags::ALL == 0
            && !plan.flags.has(networks)
            && (plan.flags.has(PlanFlags::NEW_NETWORK) || !plan.flags.has(PlanFlags::EGRESS))
            && !plan.flags.has(PlanFlags::SLOT.with(PlanFlags::EGRESS))
            && usize::from(plan.tasks_files) <= MAX_TASKS_FILES
            && plan.disk_bytes > 0
            && plan.inodes > 0;
        if sound { Ok(plan) } else { Err(Malformed) }
    }
}
