//! Process 1 sets its sandbox up, from within, and goes on to serve.
//!
//! Every step is needed, in this order; one that fails ends the sandbox, with its name told to the host.

use core::sync::atomic::{AtomicI32, Ordering};

use super::control::Control;
use super::door;
use super::errno::{Errno, Result, retry};
use super::landlock;
use super::number::Text;
use super::path::c_str;
use super::serve::{self, Guest, Place};
use super::spawn::{At as _, StepError};
use super::sys::{
    self, CLONE_NEWCGROUP, Fd, MS_NODEV, MS_NOEXEC, MS_NOSUID, POLLHUP, POLLIN, PollFd,
};
use super::target;
use crate::protocol::{
    FrameKind, MAX_TASKS_FILES, Opened, PROXY_PORT, PlanFlags, SandboxPlan, Step,
};

/// The target's user and group id inside.
pub(crate) const TARGET_ID: u32 = 1000;
/// The host name inside.
const HOST_NAME: &[u8] = b"sandbox";
/// The guest's end of its socket, once its descriptors are arranged. 0 to 2 stay occupied: a descriptor that is received
/// later must not become a standard stream.
const CONTROL: Fd = Fd(3);

/// What the guest got from the spawner.
pub(crate) struct Inherited {
    pub(crate) plan: SandboxPlan,
    pub(crate) control: Control,
    pub(crate) tasks: [Fd; MAX_TASKS_FILES],
    /// Ends of the pipe that says that the id maps are written.
    pub(crate) maps: (Fd, Fd),
    /// Ends of the pipe that ends with the spawner.
    pub(crate) life: (Fd, Fd),
}

pub(crate) fn main(inherited: &Inherited) -> ! {
    match set_up(inherited) {
        Ok(guest) => serve::run(guest),
        Err(StepError(step, error)) => {
            // If the host cannot be told, it is gone.
            let _told = inherited.control.fail(0, step, error);
            sys::exit(1)
        }
    }
}

fn set_up(inherited: &Inherited) -> core::result::Result<Guest, StepError> {
    let plan = &inherited.plan;
    sys::set_name(c"crucible-guest");
    // The spawner ignores its children; process 1 must not.
    sys::heed_children().at(Step::SIGNALS)?;
    join(plan, &inherited.tasks)?;
    become_root(inherited)?;
    mount_disk(plan).at(Step::MOUNT_DISK)?;
    mount_proc(plan).at(Step::MOUNT_PROC)?;
    if plan.flags.has(PlanFlags::UTS) {
        sys::set_host_name(HOST_NAME).at(Step::HOSTNAME)?;
    }
    let proxy = plan.flags.has(PlanFlags::EGRESS).then_some(PROXY_PORT);
    if let Some(port) = proxy {
        // While we may still change the namespace, which nobody may afterwards.
        door::open(inherited.control, port).at(Step::EGRESS_LISTENER)?;
    }
    target::seal_capabilities().at(Step::CAPABILITIES)?;
    sys::set_capabilities(target::KEPT).at(Step::CAPABILITIES)?;
    sys::set_undumpable().at(Step::CAPABILITIES)?;
    sys::set_no_new_privs().at(Step::NO_NEW_PRIVS)?;
    let control = arrange_descriptors(inherited.control).at(Step::DESCRIPTORS)?;
    close_in(plan, control, proxy)
}

/// The last steps, for whoever has its socket in place and no capability to set anything up any more.
fn close_in(
    plan: &SandboxPlan,
    control: Control,
    proxy: Option<u16>,
) -> core::result::Result<Guest, StepError> {
    // Nothing is set up any more: from here on the filter is for the guest what it is for the target.
    sys::forget_key();
    if plan.flags.has(PlanFlags::LANDLOCK) {
        landlock::restrict(plan.landlock_abi, proxy, &[]).at(Step::LANDLOCK)?;
    }
    let place = Place {
        directory: c"/box",
        single_id: plan.flags.has(PlanFlags::SINGLE_ID),
        target_id: Some(TARGET_ID),
        bounded: true,
        score: None,
        sealed: true,
    };
    let guest = Guest::new(control, place)?;
    if plan.flags.has(PlanFlags::READY) {
        guest.say_ready().at(Step::DESCRIPTORS)?;
    }
    Ok(guest)
}

/// Process 1 in a slot: its user, host name and network, and what it can never do, are the slot's.
pub(crate) fn main_in_slot(opening: &Opening) -> ! {
    match set_up_in_slot(opening) {
        Ok(guest) => serve::run(guest),
        Err(StepError(step, error)) => {
            let _told = opening.control.fail(0, step, error);
            sys::exit(1)
        }
    }
}

/// What the guest got from its slot.
pub(crate) struct Opening {
    pub(crate) plan: SandboxPlan,
    pub(crate) control: Control,
    pub(crate) tasks: [Fd; MAX_TASKS_FILES],
    /// Ends of the pipe that ends with the slot.
    pub(crate) life: (Fd, Fd),
    /// The guest's process id, as the host has it.
    pub(crate) pid: AtomicI32,
}

fn set_up_in_slot(opening: &Opening) -> core::result::Result<Guest, StepError> {
    let plan = &opening.plan;
    sys::set_name(c"crucible-guest");
    introduce(opening).at(Step::CLONE)?;
    join(plan, &opening.tasks)?;
    sys::close(opening.life.1);
    tie_to_parent(opening.life.0).at(Step::DEATH_SIGNAL)?;
    mount_disk(plan).at(Step::MOUNT_DISK)?;
    mount_proc(plan).at(Step::MOUNT_PROC)?;
    sys::set_capabilities(target::KEPT).at(Step::CAPABILITIES)?;
    sys::close_from(CONTROL.0 + 1).at(Step::DESCRIPTORS)?;
    close_in(plan, opening.control, None)
}

/// Says who it is: the slot, which would have to, sleeps as long as we live.
fn introduce(opening: &Opening) -> Result<()> {
    let pidfd = sys::own_pidfd()?;
    let opened = Opened { pid: opening.pid.load(Ordering::Acquire).unsigned_abs() };
    let sent = opening
        .control
        .answer_with(FrameKind::Opened, 0, Some(pidfd), |writer| opened.encode(writer));
    sys::close(pidfd);
    sent
}

/// Joins the sandbox's cgroups.
fn join(plan: &SandboxPlan, tasks: &[Fd]) -> core::result::Result<(), StepError> {
    for tasks in tasks.iter().take(usize::from(plan.tasks_files)) {
        // "0" is whoever writes. Writing a process id instead, or to `cgroup.procs`, waits for an RCU grace period.
        sys::write(*tasks, b"0").at(Step::CGROUP)?;
    }
    if plan.flags.has(PlanFlags::CGROUP) {
        // After joining: what the sandbox sees as its root is the cgroup it is in now.
        sys::unshare(CLONE_NEWCGROUP).at(Step::CGROUP_NAMESPACE)?;
    }
    Ok(())
}

/// A slot gets what its sandboxes have in common, and goes on to open them.
pub(crate) fn become_slot(inherited: &Inherited) -> core::result::Result<Control, StepError> {
    let plan = &inherited.plan;
    sys::set_name(c"crucible-slot");
    sys::heed_children().at(Step::SIGNALS)?;
    become_root(inherited)?;
    target::seal_capabilities().at(Step::CAPABILITIES)?;
    sys::set_capabilities(target::KEPT | 1 << sys::CAP_SYS_ADMIN).at(Step::CAPABILITIES)?;
    sys::set_undumpable().at(Step::CAPABILITIES)?;
    sys::set_no_new_privs().at(Step::NO_NEW_PRIVS)?;
    if plan.flags.has(PlanFlags::UTS) {
        sys::set_host_name(HOST_NAME).at(Step::HOSTNAME)?;
    }
    arrange_descriptors(inherited.control).at(Step::DESCRIPTORS)
}

/// Becomes root inside, as soon as the spawner has written who that is outside.
fn become_root(inherited: &Inherited) -> core::result::Result<(), StepError> {
    wait_for_maps(inherited).at(Step::MAPS)?;
    if !inherited.plan.flags.has(PlanFlags::SINGLE_ID) {
        sys::drop_groups().at(Step::CREDENTIALS)?;
        sys::set_gid(0).at(Step::CREDENTIALS)?;
        sys::set_uid(0).at(Step::CREDENTIALS)?;
    }
    tie_to_parent(inherited.life.0).at(Step::DEATH_SIGNAL)
}

fn wait_for_maps(inherited: &Inherited) -> Result<()> {
    let (wait, written) = inherited.maps;
    // Our copies of the ends that others write to: with them open, neither pipe would ever end.
    sys::close(written);
    sys::close(inherited.life.1);
    let mut byte = [0];
    match retry(|| sys::read(wait, &mut byte))? {
        1 => Ok(()),
        _ => Err(Errno::PIPE),
    }
}

/// The guest ends with the spawner, or with its slot. A change of credentials clears the setting, so it is made after the last; and
/// the parent may have gone before it was made, which a pipe of its tells (its process id is always 0 in here).
fn tie_to_parent(life: Fd) -> Result<()> {
    sys::die_with_parent()?;
    let mut life = [PollFd { fd: life, events: POLLIN, found: 0 }];
    sys::poll(&mut life, 0)?;
    match life {
        [PollFd { found, .. }] if found & POLLHUP != 0 => Err(Errno::PIPE),
        _ => Ok(()),
    }
}

/// One file system, bounded in bytes and inodes, for all that can be written to: `/tmp` and `/box` are directories of
/// it, so that the bound is one for both together. (`/dev/shm` and `/var/tmp` are links to `/tmp`.)
fn mount_disk(plan: &SandboxPlan) -> Result<()> {
    let mut options = Text::<96>::new();
    options.push(b"mode=755,size=")?;
    options.push_number(plan.disk_bytes)?;
    options.push(b",nr_inodes=")?;
    // The three directories are ours, not the target's.
    options.push_number(plan.inodes.saturating_add(3))?;
    let options = c_str(options.with_nul())?;
    sys::mount_new(c"tmpfs", c"/tmp", MS_NOSUID | MS_NODEV, options)?;
    let owner = TARGET_ID;
    for (directory, place, mode, owned) in [
        (c"/tmp/box", c"/box", 0o755, true),
        // The last: it covers the other.
        (c"/tmp/tmp", c"/tmp", 0o1777, false),
    ] {
        // Nothing is masked: the spawner has seen to that.
        sys::mkdir(directory, mode)?;
        if owned {
            sys::chown(directory, owner, owner)?;
        }
        sys::bind(directory, place, 0)?;
    }
    Ok(())
}

/// Nothing of processes that belong to others is seen: the target sees its own, the guest (group 0) all.
fn mount_proc(plan: &SandboxPlan) -> Result<()> {
    let options =
        if plan.flags.has(PlanFlags::SINGLE_ID) { c"hidepid=2" } else { c"hidepid=2,gid=0" };
    sys::mount_new(c"proc", c"/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
}

/// The socket becomes 3, standard input becomes the `/dev/null` that 1 is, and everything else is closed.
fn arrange_descriptors(control: Control) -> Result<Control> {
    if control.input == CONTROL {
        return Err(Errno::INVAL);
    }
    sys::duplicate_onto(control.input, CONTROL)?;
    sys::duplicate_onto(Fd(1), Fd(0))?;
    sys::close_from(CONTROL.0 + 1)?;
    Ok(Control::socket(CONTROL))
}
