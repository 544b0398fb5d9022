//! What sandboxes are made of, and asking for one.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crucible_core::{EngineError, Layer, Limits, Network};
use crucible_guest::protocol::{PlanFlags, SandboxPlan};
use crucible_guest_client::ReadyPool;
use crucible_guest_client::errors::setup;

use super::auditor::Auditor;
use super::cgroup::{GroupLimits, Pool};
use super::holdings::Holdings;
use super::host::Host;
use super::ids::Ids;
use super::interpreter::{self, Interpreter, Warm};
use super::network::Networks;
use super::preopen::Preopened;
use super::slots::Slots;
use super::spawner::{SendError, Spawner};

/// The most groups and namespaces that are kept ready.
const READY_MAX: usize = 128;
/// How many are kept ready however little there is to do.
const READY_MIN: usize = 2;

/// What sandboxes are made of.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) host: Host,
    pub(super) waived: BTreeSet<Layer>,
    pub(super) spawner: Spawner,
    /// Whose filter admits TCP: for sandboxes with an allow-list. Nothing but memory until there is one.
    pub(super) tcp_spawner: Spawner,
    pub(super) auditor: Arc<Auditor>,
    pub(super) ids: Ids,
    /// `None` where every cgroup layer was waived.
    pub(super) pool: Option<Pool>,
    /// Whether network namespaces are kept for the next sandbox.
    pub(super) pools_networks: bool,
    pub(super) networks: Networks,
    /// How many sandboxes hold something now, and the most there were: so much is kept ready.
    pub(super) held: AtomicUsize,
    pub(super) held_peak: AtomicUsize,
    /// How many of them have ended and are not gone yet.
    pub(super) dying: AtomicUsize,
    /// Sandboxes that stand already.
    pub(super) preopened: ReadyPool<Size, Preopened>,
    /// Those in slots.
    pub(super) slots: Slots,
    /// The languages whose interpreters are started ahead of time, and those that wait.
    pub(super) warm: Vec<Warm>,
    pub(super) interpreters: ReadyPool<interpreter::Kind, Interpreter>,
}

/// What tells one sandbox without a network from another before anything runs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    memory_bytes: u64,
    processes: u32,
    disk_bytes: u64,
    inodes: u64,
}

impl From<&Limits> for Size {
    fn from(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            disk_bytes: limits.disk_bytes,
            inodes: limits.inodes,
        }
    }
}

impl Resources {
    pub(super) fn is_waived(&self, layer: Layer) -> bool {
        self.waived.contains(&layer)
    }

    /// Takes what a sandbox needs of the host.
    pub(super) fn take(&self, size: Size, network: &Network) -> Result<Holdings, EngineError> {
        let Some(ids) = self.ids.take() else {
            return Err(EngineError::Unavailable {
                what: "a user id that nobody has".to_owned(),
                source: None,
            });
        };
        let group = match &self.pool {
            Some(pool) => {
                // The guest is one of the processes.
                let processes = u64::from(size.processes) + 1;
                match pool.take(GroupLimits { memory_bytes: size.memory_bytes, processes }) {
                    Ok(group) => Some(group),
                    Err(error) => {
                        self.ids.put(ids);
                        return Err(setup("make a cgroup", error));
                    }
                }
            }
            None => None,
        };
        // What an allow-list is for is set up in a namespace that nobody has used, nor will.
        let pooled = self.pools_networks && *network == Network::None;
        let network = if pooled { self.networks.take() } else { None };
        let held = self.held.fetch_add(1, Ordering::Relaxed) + 1;
        self.held_peak.fetch_max(held, Ordering::Relaxed);
        Ok(Holdings { ids, group, network, slot: None })
    }

    /// What a sandbox is to be like, for the spawner.
    pub(super) fn plan(
        &self,
        holdings: &Holdings,
        size: Size,
        network: &Network,
        ready: bool,
    ) -> SandboxPlan {
        let mut flags = PlanFlags::default();
        let mut set = |layer, flag: PlanFlags| {
            if !self.is_waived(layer) {
                flags = flags.with(flag);
            }
        };
        set(Layer::IpcNamespace, PlanFlags::IPC);
        set(Layer::UtsNamespace, PlanFlags::UTS);
        set(Layer::CgroupNamespace, PlanFlags::CGROUP);
        set(Layer::Landlock, PlanFlags::LANDLOCK);
        let namespace = if holdings.network.is_some() {
            PlanFlags::ENTER_NETWORK
        } else {
            PlanFlags::NEW_NETWORK
        };
        set(Layer::NetworkNamespace, namespace);
        if *network != Network::None {
            set(Layer::NetworkNamespace, PlanFlags::EGRESS);
        }
        if !self.host.is_root() {
            flags = flags.with(PlanFlags::SINGLE_ID);
        }
        if ready {
            flags = flags.with(PlanFlags::READY);
        }
        let group = holdings.group.as_ref();
        if group.is_some_and(|group| group.born_in().is_some()) {
            flags = flags.with(PlanFlags::INTO_CGROUP);
        }
        let tasks_files = group.map_or(0, |group| group.tasks().len());
        SandboxPlan {
            flags,
            tasks_files: u8::try_from(tasks_files).unwrap_or(u8::MAX),
            landlock_abi: self.host.landlock_abi.unwrap_or(0),
            outer_guest_id: holdings.ids.guest,
            outer_target_id: holdings.ids.target,
            disk_bytes: size.disk_bytes,
            inodes: size.inodes,
        }
    }

    /// Asks the spawner for a sandbox, once.
    pub(super) fn ask_spawner(
        &self,
        plan: &SandboxPlan,
        holdings: &Holdings,
        channel: BorrowedFd<'_>,
    ) -> Result<(), SendError> {
        let mut fds = vec![channel];
        fds.extend(holdings.network.as_ref().map(|fd| fd.as_fd()));
        // A slot is in none of its sandboxes' groups.
        if let (Some(group), false) = (&holdings.group, plan.flags.has(PlanFlags::SLOT)) {
            fds.extend(group.born_in());
            fds.extend(group.tasks());
        }
        self.spawner_for(plan).open(plan, &fds)
    }

    pub(super) fn spawner_for(&self, plan: &SandboxPlan) -> &Spawner {
        if plan.flags.has(PlanFlags::EGRESS) { &self.tcp_spawner } else { &self.spawner }
    }

    /// Whether any sandbox waits for somebody to ask for it.
    pub(super) fn keeps_any(&self) -> bool {
        self.preopened.stats().ready > 0
            || self.slots.pool.stats().ready > 0
            || self.interpreters.stats().ready > 0
    }

    /// Whether one more sandbox may be left to the janitor before it is gone. Where they end faster than the kernel takes them
    /// down, those that are not waited for would become ever more, each with memory and a group.
    pub(super) fn may_leave(&self) -> bool {
        let cpus = usize::try_from(self.host.cpus).unwrap_or(usize::MAX);
        self.dying.load(Ordering::Relaxed) < cpus
    }

    /// For how many sandboxes at once there is to be everything: as many as there were.
    pub(super) fn wanted(&self) -> usize {
        self.held_peak.load(Ordering::Relaxed).clamp(READY_MIN, READY_MAX)
    }

    /// How many groups are to be ready now: less those that are held.
    pub(super) fn ready_wanted(&self) -> usize {
        self.wanted().saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Whether more is ready than is kept when there is nothing to do.
    pub(super) fn is_swollen(&self) -> bool {
        self.held_peak.load(Ordering::Relaxed) > READY_MIN.max(self.held.load(Ordering::Relaxed))
    }

    /// Gives up what was made for more sandboxes than there are now.
    pub(super) fn shrink(&self) {
        self.held_peak.store(self.held.load(Ordering::Relaxed), Ordering::Relaxed);
        let wanted = self.ready_wanted();
        if let Some(pool) = &self.pool {
            pool.shrink(wanted);
        }
        self.networks.shrink(wanted);
    }

    /// Makes groups and namespaces for the sandboxes to come: as many as there were at once.
    pub(super) fn prepare(&self) {
        let wanted = self.ready_wanted();
        if let Some(pool) = &self.pool {
            while pool.ready_count() < wanted {
                if let Err(error) = pool.prepare() {
                    tracing::warn!(%error, "a cgroup could not be made ahead of time");
                    break;
                }
            }
        }
        while self.pools_networks && self.networks.lacks(self.wanted()) {
            match self.spawner.make_network() {
                Ok(network) => self.networks.add(network),
                // The engine is ending.
                Err(EngineError::Closed { .. }) => break,
                Err(error) => {
                    tracing::warn!(%error, "a network namespace could not be made ahead of time");
                    break;
                }
            }
        }
    }
}
