//! The setup of a sandbox by its process 1, which then serves the host.
//!
//! Every step is required, in this order. A failed step ends the sandbox, and the host receives the
//! name of the step.

use core::sync::atomic::{AtomicI32, Ordering};

use super::capabilities::{GUEST_CAPABILITIES, seal_capabilities};
use super::decimal::TextBuffer;
use super::egress_listener;
use super::guest::Guest;
use super::host_channel::HostChannel;
use super::landlock;
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{
    self, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, Errno, Fd, MS_NODEV, MS_NOEXEC,
    MS_NOSUID, POLLHUP, POLLIN, PollFd, Result, c_str, retry,
};
use super::target_context::TargetContext;
use crate::protocol::{
    FrameKind, MAX_TASKS_FILES, Opened, PROXY_PORT, PlanFlags, SandboxPlan, Step,
};

/// The target's user and group id in the sandbox.
pub(crate) const TARGET_ID: u32 = 1000;
/// The host name in the sandbox.
const HOST_NAME: &[u8] = b"sandbox";
/// The number of the guest's socket, after the descriptors are arranged. 0 to 2 stay occupied, so
/// that a descriptor that arrives later never becomes a standard stream.
const CONTROL: Fd = Fd(3);

/// The state that a fork of the spawner inherits, for a sandbox or a slot.
pub(crate) struct ForkContext {
    pub(crate) plan: SandboxPlan,
    pub(crate) channel: HostChannel,
    pub(crate) tasks: [Fd; MAX_TASKS_FILES],
    /// Both ends of the pipe that signals that the id maps are written.
    pub(crate) maps: (Fd, Fd),
    /// Both ends of the pipe that hangs up when the spawner ends.
    pub(crate) life: (Fd, Fd),
}

/// The state that a guest in a slot inherits from the slot.
pub(crate) struct SlotContext {
    pub(crate) plan: SandboxPlan,
    pub(crate) channel: HostChannel,
    pub(crate) tasks: [Fd; MAX_TASKS_FILES],
    /// Both ends of the pipe that hangs up when the slot ends.
    pub(crate) life: (Fd, Fd),
    /// The guest's process id in the host's namespace.
    pub(crate) pid: AtomicI32,
}

/// Returns the flags of the namespaces that no sandboxes share, even in a slot.
pub(crate) fn sandbox_namespaces(plan: &SandboxPlan) -> u64 {
    let ipc = if plan.flags.has(PlanFlags::IPC) { CLONE_NEWIPC } else { 0 };
    CLONE_NEWPID | CLONE_NEWNS | ipc
}

/// Runs process 1 of a sandbox without a slot.
pub(crate) fn main(context: &ForkContext) -> ! {
    run(set_up(context), context.channel)
}

/// Runs process 1 of a sandbox in a slot. Its user, host name, network and permanent restrictions
/// are the slot's.
pub(crate) fn main_in_slot(context: &SlotContext) -> ! {
    run(set_up_in_slot(context), context.channel)
}

fn run(guest: StepResult<Guest>, channel: HostChannel) -> ! {
    match guest {
        Ok(guest) => guest.run(),
        Err(StepError(step, error)) => {
            // A failure to send means that the host has ended.
            let _sent = channel.fail(0, step, error);
            sys::exit(1)
        }
    }
}

fn set_up(context: &ForkContext) -> StepResult<Guest> {
    let plan = &context.plan;
    sys::set_name(c"crucible-guest");
    // The spawner ignores SIGCHLD. Process 1 needs it.
    sys::expect_children().at(Step::SIGNALS)?;
    join_cgroups(plan, &context.tasks)?;
    become_root(context)?;
    mount_disk(plan).at(Step::MOUNT_DISK)?;
    mount_proc(plan).at(Step::MOUNT_PROC)?;
    if plan.flags.has(PlanFlags::UTS) {
        sys::set_host_name(HOST_NAME).at(Step::HOSTNAME)?;
    }
    let proxy = plan.flags.has(PlanFlags::EGRESS).then_some(PROXY_PORT);
    if let Some(port) = proxy {
        // This needs a capability in the network namespace, which the guest drops below.
        egress_listener::open(context.channel, port).at(Step::EGRESS_LISTENER)?;
    }
    restrict(GUEST_CAPABILITIES)?;
    let channel = arrange_descriptors(context.channel).at(Step::DESCRIPTORS)?;
    finish(plan, channel, proxy)
}

/// Permanently drops all other capabilities, and excludes this process from tracing and from new
/// privileges.
fn restrict(capabilities: u64) -> StepResult<()> {
    seal_capabilities().at(Step::CAPABILITIES)?;
    sys::set_capabilities(capabilities).at(Step::CAPABILITIES)?;
    sys::set_undumpable().at(Step::CAPABILITIES)?;
    sys::set_no_new_privs().at(Step::NO_NEW_PRIVS)
}

/// Runs the last steps, after the descriptors are arranged and the capabilities for the setup are
/// dropped.
fn finish(plan: &SandboxPlan, channel: HostChannel, proxy: Option<u16>) -> StepResult<Guest> {
    // The setup is complete. From here on the filter refuses to the guest what it refuses to the
    // target.
    sys::erase_key();
    if plan.flags.has(PlanFlags::LANDLOCK) {
        landlock::restrict(plan.landlock_abi, proxy, &[]).at(Step::LANDLOCK)?;
    }
    let context = TargetContext {
        directory: c"/box",
        single_id: plan.flags.has(PlanFlags::SINGLE_ID),
        target_id: Some(TARGET_ID),
        bounded: true,
        oom_score: None,
        sealed: true,
    };
    let guest = Guest::new(channel, context)?;
    if plan.flags.has(PlanFlags::READY) {
        guest.send_ready().at(Step::DESCRIPTORS)?;
    }
    Ok(guest)
}

fn set_up_in_slot(context: &SlotContext) -> StepResult<Guest> {
    let plan = &context.plan;
    sys::set_name(c"crucible-guest");
    send_opened(context).at(Step::CLONE)?;
    join_cgroups(plan, &context.tasks)?;
    sys::close(context.life.1);
    tie_to_parent(context.life.0).at(Step::DEATH_SIGNAL)?;
    mount_disk(plan).at(Step::MOUNT_DISK)?;
    mount_proc(plan).at(Step::MOUNT_PROC)?;
    sys::set_capabilities(GUEST_CAPABILITIES).at(Step::CAPABILITIES)?;
    sys::close_from(CONTROL.0 + 1).at(Step::DESCRIPTORS)?;
    finish(plan, context.channel, None)
}

/// Sends the guest's process id and pidfd to the host. The slot cannot, because it sleeps until the
/// guest ends.
fn send_opened(context: &SlotContext) -> Result<()> {
    let pidfd = sys::own_pidfd()?;
    let opened = Opened { pid: context.pid.load(Ordering::Acquire).unsigned_abs() };
    let sent = context
        .channel
        .answer_with(FrameKind::Opened, 0, Some(pidfd), |writer| opened.encode(writer));
    sys::close(pidfd);
    sent
}

/// Joins the sandbox's cgroups.
fn join_cgroups(plan: &SandboxPlan, tasks: &[Fd]) -> StepResult<()> {
    for tasks in tasks.iter().take(usize::from(plan.tasks_files)) {
        // "0" is the writing process. Writing a process id instead, or writing to `cgroup.procs`,
        // waits for an RCU grace period.
        sys::write(*tasks, b"0").at(Step::CGROUP)?;
    }
    if plan.flags.has(PlanFlags::CGROUP) {
        // After joining: the root of the new namespace is the current cgroup.
        sys::unshare(CLONE_NEWCGROUP).at(Step::CGROUP_NAMESPACE)?;
    }
    Ok(())
}

/// Sets up the parts that the sandboxes of a slot share. The slot then opens the sandboxes.
pub(crate) fn become_slot(context: &ForkContext) -> StepResult<HostChannel> {
    sys::set_name(c"crucible-slot");
    sys::expect_children().at(Step::SIGNALS)?;
    become_root(context)?;
    restrict(GUEST_CAPABILITIES | 1 << sys::CAP_SYS_ADMIN)?;
    if context.plan.flags.has(PlanFlags::UTS) {
        sys::set_host_name(HOST_NAME).at(Step::HOSTNAME)?;
    }
    arrange_descriptors(context.channel).at(Step::DESCRIPTORS)
}

/// Becomes root in the user namespace, after the spawner has written the id maps.
fn become_root(context: &ForkContext) -> StepResult<()> {
    wait_for_maps(context).at(Step::MAPS)?;
    if !context.plan.flags.has(PlanFlags::SINGLE_ID) {
        sys::drop_groups().at(Step::CREDENTIALS)?;
        sys::set_gid(0).at(Step::CREDENTIALS)?;
        sys::set_uid(0).at(Step::CREDENTIALS)?;
    }
    tie_to_parent(context.life.0).at(Step::DEATH_SIGNAL)
}

fn wait_for_maps(context: &ForkContext) -> Result<()> {
    let (wait, written) = context.maps;
    // These are copies of the write ends. While they are open, neither pipe hangs up.
    sys::close(written);
    sys::close(context.life.1);
    let mut byte = [0];
    match retry(|| sys::read(wait, &mut byte))? {
        1 => Ok(()),
        _ => Err(Errno::PIPE),
    }
}

/// Lets the kernel kill this process when its parent, the spawner or the slot, ends.
///
/// A change of credentials clears the setting, so call this after the last change. If the parent
/// has ended already, its pipe hangs up. (getppid(2) cannot show this: it returns 0 in the new pid
/// namespace.)
fn tie_to_parent(life: Fd) -> Result<()> {
    sys::die_with_parent()?;
    let mut life = [PollFd { fd: life, events: POLLIN, found: 0 }];
    sys::poll(&mut life, 0)?;
    match life {
        [PollFd { found, .. }] if found & POLLHUP != 0 => Err(Errno::PIPE),
        _ => Ok(()),
    }
}

/// Mounts one file system, with limits in bytes and inodes, for everything that is writable. `/tmp`
/// and `/box` are directories of it, so that they share one limit. (`/dev/shm` and `/var/tmp` are
/// links to `/tmp`.)
fn mount_disk(plan: &SandboxPlan) -> Result<()> {
    let mut options = TextBuffer::<96>::new();
    options.push(b"mode=755,size=")?;
    options.push_number(plan.disk_bytes)?;
    options.push(b",nr_inodes=")?;
    // The three directories are the guest's, and do not count for the target.
    options.push_number(plan.inodes.saturating_add(3))?;
    let options = c_str(options.with_nul())?;
    sys::mount_new(c"tmpfs", c"/tmp", MS_NOSUID | MS_NODEV, options)?;
    for (directory, mount_point, mode, owned) in [
        (c"/tmp/box", c"/box", 0o755, true),
        // This one is last, because it covers the other.
        (c"/tmp/tmp", c"/tmp", 0o1777, false),
    ] {
        // The spawner has set the umask to 0.
        sys::mkdir(directory, mode)?;
        if owned {
            sys::chown(directory, TARGET_ID, TARGET_ID)?;
        }
        sys::bind(directory, mount_point, 0)?;
    }
    Ok(())
}

/// Mounts a `/proc` that hides processes of other users: the target sees its own, the guest (group
/// 0) sees all.
fn mount_proc(plan: &SandboxPlan) -> Result<()> {
    let options =
        if plan.flags.has(PlanFlags::SINGLE_ID) { c"hidepid=2" } else { c"hidepid=2,gid=0" };
    sys::mount_new(c"proc", c"/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
}

/// Moves the socket to 3, makes standard input the `/dev/null` that descriptor 1 is, and closes
/// everything else.
fn arrange_descriptors(channel: HostChannel) -> Result<HostChannel> {
    if channel.input == CONTROL {
        return Err(Errno::INVAL);
    }
    sys::duplicate_onto(channel.input, CONTROL)?;
    sys::duplicate_onto(Fd(1), Fd(0))?;
    sys::close_from(CONTROL.0 + 1)?;
    Ok(HostChannel::socket(CONTROL))
}
