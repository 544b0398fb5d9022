//! The factory of sandboxes. A guest is a fork of the spawner in namespaces of its own.

use super::decimal::TextBuffer;
use super::filter::{self, SocketPolicy};
use super::host_channel::HostChannel;
use super::sandbox::{self, ForkContext, sandbox_namespaces};
use super::sandbox_fds::SandboxFds;
use super::slot_server;
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{
    self, CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWUTS, Errno, Fd, Forked, O_CLOEXEC, O_RDONLY,
    O_WRONLY, Result, SIGKILL, c_str,
};
use crate::protocol::{FrameKind, InitFlags, Opened, PlanFlags, SandboxPlan, Step, WireWriter};

/// At this core limit the kernel writes no core file and starts no crash handler of the host
/// (core(5)).
const CORE_NONE: u64 = 1;

/// The seccomp listener, over which the host receives refused calls.
pub(crate) enum SeccompListener {
    Present(Fd),
    /// The kernel returned this error instead.
    Unavailable(Errno),
    /// The engine runs without a filter.
    NotRequested,
}

/// Opens sandboxes.
pub(crate) struct SandboxFactory {
    /// Both ends of a pipe. Only the spawner can write to it, and never does: when it hangs up, a
    /// guest knows that the spawner has ended.
    life: (Fd, Fd),
}

impl SandboxFactory {
    /// Loads the filter after the spawner has entered the template. Returns the listener too.
    pub(crate) fn new(flags: InitFlags) -> StepResult<(Self, SeccompListener)> {
        let life = sys::pipe().at(Step::DESCRIPTORS)?;
        if !flags.has(InitFlags::SECCOMP) {
            return Ok((Self { life }, SeccompListener::NotRequested));
        }
        // Afterwards the filter ignores every change of the core limit.
        sys::set_rlimit(sys::RLIMIT_CORE, CORE_NONE, CORE_NONE).at(Step::SPAWNER_SECCOMP)?;
        let key = sys::generate_key().at(Step::SPAWNER_SECCOMP)?;
        let sockets = if flags.has(InitFlags::INET) {
            SocketPolicy::LocalAndTcp
        } else {
            SocketPolicy::LocalOnly
        };
        let listener = match filter::load(key, sockets).at(Step::SPAWNER_SECCOMP)? {
            Ok(listener) => SeccompListener::Present(listener),
            Err(error) => SeccompListener::Unavailable(error),
        };
        Ok((Self { life }, listener))
    }

    /// Opens a sandbox. Does not return in the child.
    pub(crate) fn open(
        &self,
        plan: &SandboxPlan,
        channel: HostChannel,
        fds: &[Fd],
    ) -> StepResult<()> {
        let SandboxFds { network, cgroup, tasks } = SandboxFds::new(plan, fds)?;
        if let Some(network) = network {
            // The guest could not enter it: the namespace belongs to the host's user namespace, so
            // that only a process of that user namespace may.
            sys::enter_namespace(network, CLONE_NEWNET).at(Step::ENTER_NETNS)?;
        }
        let maps = sys::pipe().at(Step::DESCRIPTORS)?;
        let forked = sys::fork_into(clone_flags(plan), cgroup).at(Step::CLONE);
        if let Ok(Forked::Child) = forked {
            let context = ForkContext { plan: *plan, channel, tasks, maps, life: self.life };
            if plan.flags.has(PlanFlags::SLOT) {
                slot_server::main(&context);
            }
            sandbox::main(&context);
        }
        // The read end stays open until the write: otherwise a guest that the host has killed would
        // cause a SIGPIPE, which would end the spawner and every sandbox.
        let (maps_wait, maps_written) = maps;
        let released = forked.and_then(|forked| release(plan, channel, forked, maps_written));
        sys::close(maps_wait);
        sys::close(maps_written);
        released
    }

    /// Creates an empty network namespace for the pool. The spawner stays in it until it creates
    /// the next one, because it uses no network.
    pub(crate) fn make_network(&self) -> StepResult<Fd> {
        sys::unshare(CLONE_NEWNET).at(Step::NETNS)?;
        sys::open(c"/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0).at(Step::NETNS)
    }
}

fn clone_flags(plan: &SandboxPlan) -> u64 {
    let mut flags = CLONE_NEWUSER;
    if !plan.flags.has(PlanFlags::SLOT) {
        flags |= sandbox_namespaces(plan);
    }
    for (flag, namespace) in
        [(PlanFlags::NEW_NETWORK, CLONE_NEWNET), (PlanFlags::UTS, CLONE_NEWUTS)]
    {
        if plan.flags.has(flag) {
            flags |= namespace;
        }
    }
    flags
}

/// Writes the guest's id maps, passes its pidfd to the host, and lets it continue. On an error,
/// kills the guest.
fn release(
    plan: &SandboxPlan,
    channel: HostChannel,
    forked: Forked,
    maps_written: Fd,
) -> StepResult<()> {
    let Forked::Parent { pid, pidfd } = forked else { return Ok(()) };
    let released = write_maps(plan, pid).at(Step::MAPS).and_then(|()| {
        let mut payload = [0; 4];
        let mut writer = WireWriter::new(&mut payload);
        let opened = Opened { pid: pid.unsigned_abs() };
        opened.encode(&mut writer).map_err(|_| StepError(Step::MAPS, Errno::INVAL))?;
        // Sent before the guest continues, so that the host reads this frame first.
        channel.send(FrameKind::Opened, 0, &[], writer.written(), Some(pidfd)).at(Step::MAPS)?;
        sys::write(maps_written, b"m").at(Step::MAPS).map(drop)
    });
    if released.is_err() {
        // The guest still waits for its maps: nothing of the sandbox has started.
        let _killed = sys::kill_by_pidfd(pidfd, SIGKILL);
    }
    sys::close(pidfd);
    released
}

/// Maps root and target to two ids outside that no other process has. An ordinary user has one id
/// for both.
fn write_maps(plan: &SandboxPlan, pid: i32) -> Result<()> {
    let mut map = TextBuffer::<96>::new();
    if plan.flags.has(PlanFlags::SINGLE_ID) {
        push_map_line(&mut map, sandbox::TARGET_ID, plan.outer_target_id)?;
    } else {
        push_map_line(&mut map, 0, plan.outer_guest_id)?;
        push_map_line(&mut map, sandbox::TARGET_ID, plan.outer_target_id)?;
    }
    for file in [b"/uid_map", b"/gid_map"] {
        let mut path = TextBuffer::<48>::new();
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

fn push_map_line(map: &mut TextBuffer<96>, inside: u32, outside: u32) -> Result<()> {
    map.push_number(u64::from(inside))?;
    map.push(b" ")?;
    map.push_number(u64::from(outside))?;
    map.push(b" 1\n")
}
