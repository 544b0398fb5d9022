//! Opening a sandbox: the guest is a fork of the spawner, in namespaces of its own.

use super::control::Control;
use super::errno::{Errno, Result};
use super::number::Text;
use super::path::c_str;
use super::sandbox::{self, Inherited};
use super::seccomp::{self, Sockets};
use super::slot;
use super::spawn::{At as _, StepError};
use super::sys::{
    self, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, Fd,
    Forked, O_CLOEXEC, O_RDONLY, O_WRONLY, SIGKILL,
};
use crate::protocol::{
    FrameKind, InitFlags, MAX_TASKS_FILES, Opened, PlanFlags, SandboxPlan, Step,
};

/// At this core limit the kernel makes no core file and starts no crash handler of the host (core(5)).
const CORE_NONE: u64 = 1;

/// What the host hears of refused calls over.
pub(crate) enum Listener {
    There(Fd),
    /// The kernel gives none.
    Refused(Errno),
    /// There is no filter.
    NotWanted,
}

/// Opens sandboxes.
pub(crate) struct Factory {
    /// A pipe that only the spawner writes to, which it never does: its end tells a guest that the spawner is gone.
    life: (Fd, Fd),
}

impl Factory {
    /// Loads the filter, once the spawner lives in the template. Gives its listener to whoever seals the template.
    pub(crate) fn new(flags: InitFlags) -> core::result::Result<(Self, Listener), StepError> {
        let life = sys::pipe().at(Step::DESCRIPTORS)?;
        if !flags.has(InitFlags::SECCOMP) {
            return Ok((Self { life }, Listener::NotWanted));
        }
        // The filter lets nobody set the core limit any more.
        sys::set_rlimit(sys::RLIMIT_CORE, CORE_NONE, CORE_NONE).at(Step::SPAWNER_SECCOMP)?;
        let key = sys::make_key().at(Step::SPAWNER_SECCOMP)?;
        let sockets = if flags.has(InitFlags::INET) { Sockets::Tcp } else { Sockets::Local };
        let listener = match seccomp::load(key, sockets).at(Step::SPAWNER_SECCOMP)? {
            Ok(listener) => Listener::There(listener),
            Err(error) => Listener::Refused(error),
        };
        Ok((Self { life }, listener))
    }

    /// Opens a sandbox. In the child this does not return.
    pub(crate) fn open(
        &self,
        plan: &SandboxPlan,
        control: Control,
        fds: &[Fd],
    ) -> core::result::Result<(), StepError> {
        let Joined { network, cgroup, tasks } = Joined::new(plan, fds)?;
        let is_slot = plan.flags.has(PlanFlags::SLOT);
        let mut flags = CLONE_NEWUSER;
        if !is_slot {
            flags |= namespaces_of_a_sandbox(plan);
        }
        for (flag, namespace) in
            [(PlanFlags::NEW_NETWORK, CLONE_NEWNET), (PlanFlags::UTS, CLONE_NEWUTS)]
        {
            if plan.flags.has(flag) {
                flags |= namespace;
            }
        }
        if let Some(network) = network {
            // The guest could not: the namespace belongs to the host's user namespace, and so must whoever enters it.
            sys::enter_namespace(network, CLONE_NEWNET).at(Step::ENTER_NETNS)?;
        }
        let (maps_wait, maps_written) = sys::pipe().at(Step::DESCRIPTORS)?;
        let forked = sys::fork_into(flags, cgroup).at(Step::CLONE);
        if let Ok(Forked::Child) = forked {
            let inherited = Inherited {
                plan: *plan,
                control,
                tasks,
                maps: (maps_wait, maps_written),
                life: self.life,
            };
            if is_slot {
                slot::main(&inherited);
            }
            sandbox::main(&inherited);
        }
        // While this end is open, writing to the other is no SIGPIPE, which would end the spawner and every sandbox: the host
        // may have killed the guest already.
        let done = forked.and_then(|forked| release(plan, control, forked, maps_written));
        sys::close(maps_wait);
        sys::close(maps_written);
        done
    }

    /// A network namespace with nothing in it, for the pool. The spawner stays in it until the next one: it needs no
    /// network.
    pub(crate) fn make_network(&self) -> core::result::Result<Fd, StepError> {
        sys::unshare(CLONE_NEWNET).at(Step::NETNS)?;
        sys::open(c"/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0).at(Step::NETNS)
    }
}

/// The namespaces that no two sandboxes share, even where one follows the other.
pub(crate) fn namespaces_of_a_sandbox(plan: &SandboxPlan) -> u64 {
    let ipc = if plan.flags.has(PlanFlags::IPC) { CLONE_NEWIPC } else { 0 };
    CLONE_NEWPID | CLONE_NEWNS | ipc
}

/// What a sandbox joins, in the order in which it came along.
pub(crate) struct Joined {
    pub(crate) network: Option<Fd>,
    pub(crate) cgroup: Option<Fd>,
    pub(crate) tasks: [Fd; MAX_TASKS_FILES],
}

impl Joined {
    pub(crate) fn new(plan: &SandboxPlan, fds: &[Fd]) -> core::result::Result<Self, StepError> {
        let mut fds = fds.iter().copied();
        let mut next = || fds.next().ok_or(StepError(Step::REQUEST, Errno::PROTO));
        let network = if plan.flags.has(PlanFlags::ENTER_NETWORK) { Some(next()?) } else { None };
        let cgroup = if plan.flags.has(PlanFlags::INTO_CGROUP) { Some(next()?) } else { None };
        let mut tasks = [Fd(-1); MAX_TASKS_FILES];
        for slot in tasks.iter_mut().take(usize::from(plan.tasks_files)) {
            *slot = next()?;
        }
        Ok(Self { network, cgroup, tasks })
    }
}

/// Maps the guest's ids, hands its pidfd to the host, and lets it go on. A guest that cannot be mapped is ended.
fn release(
    plan: &SandboxPlan,
    control: Control,
    forked: Forked,
    maps_written: Fd,
) -> core::result::Result<(), StepError> {
    let Forked::Parent { pid, pidfd } = forked else { return Ok(()) };
    let released = write_maps(plan, pid).at(Step::MAPS).and_then(|()| {
        let mut payload = [0; 4];
        let mut writer = crate::protocol::WireWriter::new(&mut payload);
        let opened = Opened { pid: pid.unsigned_abs() };
        opened.encode(&mut writer).map_err(|_| StepError(Step::MAPS, Errno::INVAL))?;
        // Before the guest goes on, so that the host reads this first.
        control.send(FrameKind::Opened, 0, &[], writer.written(), Some(pidfd)).at(Step::MAPS)?;
        sys::write(maps_written, b"m").at(Step::MAPS).map(drop)
    });
    if released.is_err() {
        // It waits for its maps: nothing of the sandbox has begun.
        let _ended = sys::kill_by_pidfd(pidfd, SIGKILL);
    }
    sys::close(pidfd);
    released
}

/// Root inside and the target inside are two ids outside that nobody else has; an ordinary user has one for both.
fn write_maps(plan: &SandboxPlan, pid: i32) -> Result<()> {
    let mut map = Text::<96>::new();
    if plan.flags.has(PlanFlags::SINGLE_ID) {
        map_line(&mut map, sandbox::TARGET_ID, plan.outer_target_id)?;
    } else {
        map_line(&mut map, 0, plan.outer_guest_id)?;
        map_line(&mut map, sandbox::TARGET_ID, plan.outer_target_id)?;
    }
    for file in [b"/uid_map", b"/gid_map"] {
        let mut path = Text::<48>::new();
        path.push(b"/proc/")?;
        path.push_number(u64::from(pid.unsigned_abs()))?;
        path.push(file)?;
        let fd = sys::open(c_str(path.with_nul())?, O_WRONLY | O_CLOEXEC, 0)?;
        let written = sys::write(fd, map.as_bytes());
        sys::close(fd);
        written?;
    }
    Ok(())
}

fn map_line(map: &mut Text<96>, inside: u32, outside: u32) -> Result<()> {
    map.push_number(u64::from(inside))?;
    map.push(b" ")?;
    map.push_number(u64::from(outside))?;
    map.push(b" 1\n")
}
