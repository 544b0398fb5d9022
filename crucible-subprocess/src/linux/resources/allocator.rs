//! Allocation of the host's resources to sandboxes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crucible_core::{EngineError, Layer, Limits, Network};
use crucible_guest::protocol::{PlanFlags, Rlimit, SandboxPlan};
use crucible_guest_client::errors::setup;
use crucible_guest_client::request;

use super::network_namespaces::NetworkNamespacePool;
use super::reservation::Reservation;
use super::sandbox_size::SandboxSize;
use super::user_ids::UserIdPool;
use crate::linux::audit::{Auditor, GuestId};
use crate::linux::cgroup::{CgroupLimits, CgroupPool};
use crate::linux::spawner::{SpawnError, Spawner};
use crate::linux::sys::HostInfo;

/// The maximum number of groups and namespaces that are kept ready.
const READY_MAX: usize = 128;
/// The fewest groups and namespaces that are kept ready.
const READY_MIN: usize = 2;

/// The parts of an allocator.
#[derive(Debug)]
pub(crate) struct AllocatorParts {
    pub(crate) host: HostInfo,
    pub(crate) waived: BTreeSet<Layer>,
    pub(crate) spawner: Spawner,
    /// The spawner of sandboxes with an allow-list: its filter admits TCP. Dormant until the
    /// first one.
    pub(crate) tcp_spawner: Spawner,
    pub(crate) auditor: Arc<Auditor>,
    pub(crate) ids: UserIdPool,
    /// `None` if every cgroup layer was waived.
    pub(crate) cgroups: Option<CgroupPool>,
    /// Whether network namespaces are kept for the next sandbox.
    pub(crate) pools_networks: bool,
}

/// Allocates the host's resources to sandboxes.
#[derive(Debug)]
pub(crate) struct ResourceAllocator {
    parts: AllocatorParts,
    networks: NetworkNamespacePool,
    /// Number of sandboxes with a reservation.
    held: AtomicUsize,
    /// The recent peak of `held`, which decides how much is kept ready.
    held_peak: AtomicUsize,
    /// Number of sandboxes that have ended and are not torn down yet.
    dying: AtomicUsize,
}

impl ResourceAllocator {
    /// Creates an allocator without reservations.
    pub(crate) fn new(parts: AllocatorParts) -> Self {
        Self {
            parts,
            networks: NetworkNamespacePool::default(),
            held: AtomicUsize::new(0),
            held_peak: AtomicUsize::new(0),
            dying: AtomicUsize::new(0),
        }
    }

    /// Returns the facts about the host.
    pub(crate) fn host(&self) -> &HostInfo {
        &self.parts.host
    }

    /// Returns the auditor, which counts violations.
    pub(crate) fn auditor(&self) -> &Auditor {
        &self.parts.auditor
    }

    /// Returns the spawner of sandboxes without an allow-list.
    pub(crate) fn spawner(&self) -> &Spawner {
        &self.parts.spawner
    }

    /// Returns `true` if the host waived this layer.
    pub(crate) fn is_waived(&self, layer: Layer) -> bool {
        self.parts.waived.contains(&layer)
    }

    /// Reserves the resources of a sandbox.
    pub(crate) fn reserve(
        &self,
        size: SandboxSize,
        network: &Network,
    ) -> Result<Reservation, EngineError> {
        let Some(ids) = self.parts.ids.take() else {
            return Err(EngineError::Unavailable {
                what: "an unused user id".to_owned(),
                source: None,
            });
        };
        let group = match &self.parts.cgroups {
            Some(cgroups) => {
                // The guest is one of the processes.
                let processes = u64::from(size.processes) + 1;
                match cgroups.take(CgroupLimits { memory_bytes: size.memory_bytes, processes }) {
                    Ok(group) => Some(group),
                    Err(error) => {
                        self.parts.ids.put_back(ids);
                        return Err(setup("create a cgroup", error));
                    }
                }
            }
            None => None,
        };
        // Egress is set up in a namespace that no other sandbox uses, before or after.
        let is_pooled = self.parts.pools_networks && *network == Network::None;
        let network = if is_pooled { self.networks.take() } else { None };
        let held = self.held.fetch_add(1, Ordering::Relaxed) + 1;
        self.held_peak.fetch_max(held, Ordering::Relaxed);
        Ok(Reservation { ids, group, network, slot: None })
    }

    /// Releases the resources of a dead sandbox.
    ///
    /// # Errors
    /// Fails with `EBUSY` while a process runs in the sandbox's cgroup. The reservation is then
    /// kept.
    pub(crate) fn release(
        &self,
        reservation: &mut Reservation,
        guest: impl FnOnce() -> Option<GuestId>,
    ) -> io::Result<()> {
        if let Some(cgroups) = &self.parts.cgroups {
            // `held` still counts this reservation.
            cgroups.put_back(&mut reservation.group, self.ready_wanted() + 1)?;
        }
        self.auditor().violations.remove_guest(guest);
        self.parts.ids.put_back(reservation.ids);
        if let Some(network) = reservation.network.take() {
            self.networks.put_back(network, self.wanted());
        }
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.dying.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Prepares the cgroup of a dead sandbox for the next sandbox in its slot, or replaces it.
    ///
    /// # Errors
    /// See [`CgroupPool::renew`].
    pub(crate) fn renew_group(&self, reservation: &mut Reservation) -> io::Result<()> {
        match &self.parts.cgroups {
            Some(cgroups) => cgroups.renew(&mut reservation.group),
            None => Ok(()),
        }
    }

    /// Returns the spawner's plan of a sandbox.
    pub(crate) fn plan(
        &self,
        reservation: &Reservation,
        size: SandboxSize,
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
        let namespace = if reservation.network.is_some() {
            PlanFlags::ENTER_NETWORK
        } else {
            PlanFlags::NEW_NETWORK
        };
        set(Layer::NetworkNamespace, namespace);
        if *network != Network::None {
            set(Layer::NetworkNamespace, PlanFlags::EGRESS);
        }
        if !self.host().is_root() {
            flags = flags.with(PlanFlags::SINGLE_ID);
        }
        if ready {
            flags = flags.with(PlanFlags::READY);
        }
        let group = reservation.group.as_ref();
        if group.is_some_and(|group| group.clone_into().is_some()) {
            flags = flags.with(PlanFlags::INTO_CGROUP);
        }
        let tasks_files = group.map_or(0, |group| group.tasks().len());
        SandboxPlan {
            flags,
            tasks_files: u8::try_from(tasks_files).unwrap_or(u8::MAX),
            landlock_abi: self.host().landlock_abi.unwrap_or(0),
            outer_guest_id: reservation.ids.guest,
            outer_target_id: reservation.ids.target,
            disk_bytes: size.disk_bytes,
            inodes: size.inodes,
        }
    }

    /// Requests a sandbox from the spawner, once.
    pub(crate) fn spawn(
        &self,
        plan: &SandboxPlan,
        reservation: &Reservation,
        channel: BorrowedFd<'_>,
    ) -> Result<(), SpawnError> {
        let mut fds = vec![channel];
        fds.extend(reservation.network.as_ref().map(|fd| fd.as_fd()));
        // A slot is in none of its sandboxes' groups.
        if let (Some(group), false) = (&reservation.group, plan.flags.has(PlanFlags::SLOT)) {
            fds.extend(group.clone_into());
            fds.extend(group.tasks());
        }
        self.spawner_for(plan).open(plan, &fds)
    }

    /// Returns the spawner that the plan's sandbox comes from.
    pub(crate) fn spawner_for(&self, plan: &SandboxPlan) -> &Spawner {
        let parts = &self.parts;
        if plan.flags.has(PlanFlags::EGRESS) { &parts.tcp_spawner } else { &parts.spawner }
    }

    /// Ends both spawners, and with them every guest. Blocks until they have ended.
    pub(crate) fn stop_spawners(&self) {
        self.parts.spawner.stop();
        self.parts.tcp_spawner.stop();
    }

    /// Encodes the resource limits of each process, and the limits that replace waived cgroups.
    pub(crate) fn rlimits(&self, limits: &Limits) -> Result<Vec<u8>, EngineError> {
        let mut wanted = Vec::new();
        let same = |resource, value| Rlimit { resource, soft: value, hard: value };
        if !self.is_waived(Layer::Rlimits) {
            wanted.extend(request::process_limits(limits));
            wanted.extend(request::priority_limits());
        }
        if self.is_waived(Layer::MemoryCgroup) {
            wanted.push(same(libc::RLIMIT_AS, limits.memory_bytes));
        }
        if self.is_waived(Layer::PidsCgroup) {
            // The kernel counts per user in the sandbox's user namespace. The guest is included if
            // both share an id.
            let processes = u64::from(limits.processes) + u64::from(!self.host().is_root());
            wanted.push(same(libc::RLIMIT_NPROC, processes));
        }
        request::rlimits(&wanted)
    }

    /// Counts sandboxes that have ended and are not torn down yet.
    pub(crate) fn note_dying(&self, count: usize) {
        self.dying.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a dying sandbox as replaced: its slot has opened the next one.
    pub(crate) fn note_recycled(&self) {
        self.dying.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns `true` if a sandbox may return before its teardown is complete.
    ///
    /// If sandboxes end faster than the kernel removes them, deferred teardowns would accumulate,
    /// each with memory and a group.
    pub(crate) fn may_defer_teardown(&self) -> bool {
        let cpus = usize::try_from(self.host().cpus).unwrap_or(usize::MAX);
        self.dying.load(Ordering::Relaxed) < cpus
    }

    /// Returns the number of concurrent sandboxes to prepare for: the recent peak.
    fn wanted(&self) -> usize {
        self.held_peak.load(Ordering::Relaxed).clamp(READY_MIN, READY_MAX)
    }

    /// Returns the number of groups to keep ready: the peak without those in use.
    fn ready_wanted(&self) -> usize {
        self.wanted().saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Returns `true` if more is ready than an idle engine keeps.
    pub(crate) fn has_surplus(&self) -> bool {
        self.held_peak.load(Ordering::Relaxed) > READY_MIN.max(self.held.load(Ordering::Relaxed))
    }

    /// Removes the groups and namespaces for more sandboxes than there are now.
    pub(crate) fn shrink(&self) {
        self.held_peak.store(self.held.load(Ordering::Relaxed), Ordering::Relaxed);
        let wanted = self.ready_wanted();
        if let Some(cgroups) = &self.parts.cgroups {
            cgroups.shrink(wanted);
        }
        self.networks.shrink(wanted);
    }

    /// Creates groups and namespaces for as many sandboxes as recently ran in parallel.
    pub(crate) fn prepare(&self) {
        let wanted = self.ready_wanted();
        if let Some(cgroups) = &self.parts.cgroups {
            while cgroups.ready_count() < wanted {
                if let Err(error) = cgroups.prepare() {
                    tracing::warn!(%error, "cannot create a cgroup ahead of time");
                    break;
                }
            }
        }
        while self.parts.pools_networks && self.networks.lacks(self.wanted()) {
            match self.parts.spawner.create_network() {
                Ok(network) => self.networks.add(network),
                // The engine is ending.
                Err(EngineError::Closed { .. }) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot create a network namespace ahead of time");
                    break;
                }
            }
        }
    }
}
