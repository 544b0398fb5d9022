//! What a sandbox is to be like: the spawner's request, flat and of fixed size.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The most version 1 cgroup hierarchies that a sandbox joins.
pub const MAX_TASKS_FILES: usize = 4;

/// Which layers a sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanFlags(pub u32);

impl PlanFlags {
    /// A network namespace of its own, made for it.
    pub const NEW_NETWORK: Self = Self(1);
    /// A network namespace of its own, which comes along as a file descriptor.
    pub const ENTER_NETWORK: Self = Self(1 << 1);
    /// An IPC namespace.
    pub const IPC: Self = Self(1 << 2);
    /// A UTS namespace.
    pub const UTS: Self = Self(1 << 3);
    /// A cgroup namespace.
    pub const CGROUP: Self = Self(1 << 4);
    /// The Landlock ruleset.
    pub const LANDLOCK: Self = Self(1 << 5);
    /// Guest and target share the only id that there is: an ordinary user's.
    pub const SINGLE_ID: Self = Self(1 << 6);
    /// A version 2 cgroup comes along as a file descriptor: the guest is born in it.
    pub const INTO_CGROUP: Self = Self(1 << 7);
    /// Say when the sandbox stands, before anything is asked.
    pub const READY: Self = Self(1 << 8);
    /// A way out to the host's proxy, see [`FrameKind::EgressListener`](super::FrameKind::EgressListener). Takes `NEW_NETWORK`: nobody else
    /// was, or will be, in that namespace.
    pub const EGRESS: Self = Self(1 << 9);

    /// A slot in place of a sandbox: a process that keeps what sandboxes that follow one another share, and opens one for each
    /// [`FrameKind::Next`](super::FrameKind::Next).
    pub const SLOT: Self = Self(1 << 10);

    const ALL: u32 = (1 << 11) - 1;

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of this set alone that are in `other` too.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a sandbox is to be like.
///
/// File descriptors come along in this order: the guest's end of its socket, the network namespace
/// (`ENTER_NETWORK`), the version 2 cgroup (`INTO_CGROUP`), `tasks_files` opened `tasks` files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxPlan {
    /// Its layers.
    pub flags: PlanFlags,
    /// How many version 1 `tasks` files come along.
    pub tasks_files: u8,
    /// The version of the Landlock ABI to use.
    pub landlock_abi: u8,
    /// The id outside that is root inside; user and group alike.
    pub outer_guest_id: u32,
    /// The id outside that is the target's; user and group alike.
    pub outer_target_id: u32,
    /// The size of the file system that can be written to.
    pub disk_bytes: u64,
    /// The inodes of the file system that can be written to.
    pub inodes: u64,
}

impl SandboxPlan {
    /// Writes the plan.
    ///
    /// # Errors
    /// There is no room.
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
    /// It is malformed, or contradicts itself.
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
