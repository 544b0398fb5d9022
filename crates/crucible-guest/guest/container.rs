//! The role `serve`: process 1 of a container that a container runtime made.
//!
//! The runtime starts the guest as root with a few capabilities, in a read-only root. Before it
//! serves, the guest adds the layers that a process can add to itself, so that every command
//! inherits them. Then it checks which of the other layers are in force. Its `Ready` frame lists
//! both. The host decides what a missing layer means.

use core::ffi::CStr;

use super::arguments::Arguments;
use super::capabilities::{GUEST_CAPABILITIES, seal_capabilities};
use super::container_cgroup::ContainerCgroup;
use super::filter::{self, SocketPolicy};
use super::guest::{ContainerState, Guest};
use super::host_channel::HostChannel;
use super::landlock;
use super::oom_score::{GuestScore, OomScore};
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{self, Errno, Fd, O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_WRONLY, Result, retry};
use super::target_context::TargetContext;
use super::writable_mounts::WritableMounts;
use crate::protocol::{Layers, Step};

/// The devices that programs may write to. A container has more of them, terminals above all.
const DEVICES: &[&CStr] =
    &[c"/dev/null", c"/dev/zero", c"/dev/full", c"/dev/random", c"/dev/urandom"];

/// Runs the role. Its options:
///
/// - `--id N`: the target's user and group id.
/// - `--here`: serve in the current directory instead of `/box`, without adding layers.
/// - `--disk N`, `--inodes N`: the limit for all writable mounts together.
/// - `--oom-first`: when memory runs out, the kernel kills programs before the guest.
/// - `--no-seccomp`, `--no-landlock`: do not add these layers, for a host that waives them.
pub(crate) fn main(arguments: &Arguments) -> ! {
    let channel = HostChannel::pipes(Fd(0), Fd(1));
    let started = arrange_descriptors(channel).at(Step::DESCRIPTORS).and_then(|channel| {
        if arguments.has(b"--here") {
            set_up_here(arguments, channel)
        } else {
            set_up(arguments, channel)
        }
    });
    match started {
        Ok(guest) => match guest.send_ready() {
            Ok(()) => guest.run(),
            Err(_) => sys::exit(1),
        },
        Err(StepError(step, error)) => {
            // The numbers of the pipes depend on how far the setup came. If neither works, the host
            // has closed them.
            if HostChannel::pipes(Fd(3), Fd(4)).fail(0, step, error).is_err() {
                let _sent = channel.fail(0, step, error);
            }
            sys::exit(1)
        }
    }
}

/// Moves the pipes of the channel to 3 and 4, and opens `/dev/null` as the standard streams.
fn arrange_descriptors(channel: HostChannel) -> Result<HostChannel> {
    sys::reset_signals()?;
    sys::duplicate_onto(channel.input, Fd(3))?;
    sys::duplicate_onto(Fd(1), Fd(4))?;
    let null = sys::open(c"/dev/null", 2 | O_CLOEXEC, 0)?;
    for stream in 0..3 {
        sys::duplicate_onto(null, Fd(stream))?;
    }
    sys::close_from(5)?;
    if sys::pid() != 1 {
        // Orphans of commands become the guest's children, as they do for process 1.
        sys::become_subreaper()?;
    }
    Ok(HostChannel::pipes(Fd(3), Fd(4)))
}

fn target_id(arguments: &Arguments) -> Option<u32> {
    arguments.number(b"--id").and_then(|id| u32::try_from(id).ok())
}

fn set_up_here(arguments: &Arguments, channel: HostChannel) -> StepResult<Guest> {
    let context = TargetContext {
        directory: c".",
        single_id: false,
        target_id: target_id(arguments),
        bounded: false,
        oom_score: None,
        sealed: false,
    };
    Guest::new(channel, context)
}

fn set_up(arguments: &Arguments, channel: HostChannel) -> StepResult<Guest> {
    sys::set_name(c"crucible-guest");
    arguments.clear_environment();
    let Some(id) = target_id(arguments).filter(|id| *id != 0) else {
        return Err(StepError(Step::CREDENTIALS, Errno::INVAL));
    };
    let mut layers = detect_layers();
    let guest_score = arguments.has(b"--oom-first").then(GuestScore::open).and_then(Result::ok);
    let disk = match (arguments.number(b"--disk"), arguments.number(b"--inodes")) {
        (Some(bytes), Some(inodes)) => {
            Some(WritableMounts::open(bytes, inodes).at(Step::OPEN_BOX)?)
        }
        _ => None,
    };
    layers = layers.with(disk.as_ref().map(WritableMounts::layers).unwrap_or_default());
    let cgroup = ContainerCgroup::detect();
    layers = layers.with(cgroup.map(ContainerCgroup::layer).unwrap_or_default());
    sys::drop_groups().at(Step::CREDENTIALS)?;
    layers = layers.with(drop_capabilities().at(Step::CAPABILITIES)?);
    sys::set_undumpable().at(Step::CAPABILITIES)?;
    if sys::set_no_new_privs().is_ok() {
        layers = layers.with(Layers::NO_NEW_PRIVS);
    }
    if !arguments.has(b"--no-landlock") && restrict_files().is_ok() {
        layers = layers.with(Layers::LANDLOCK);
    }
    let has_landlock = layers.has(Layers::LANDLOCK);
    let context = TargetContext {
        directory: c"/box",
        single_id: false,
        target_id: Some(id),
        bounded: true,
        oom_score: guest_score.map(|guest_score| OomScore::new(guest_score, has_landlock)),
        sealed: true,
    };
    let guest = Guest::new(channel, context)?;
    // The filter is last, because it refuses system calls of the steps above.
    if !arguments.has(b"--no-seccomp") && load_filter().is_ok() {
        layers = layers.with(Layers::SECCOMP);
    }
    Ok(guest.in_container(ContainerState { layers, cgroup, disk }))
}

/// Empties the bounding set and drops the capabilities that the guest does not use. A kernel that
/// emulates Linux may not have secure bits. Nothing depends on them then: the target is not root,
/// and no program that it executes gains a privilege.
fn drop_capabilities() -> Result<Layers> {
    let sealed = seal_capabilities();
    sys::set_capabilities(GUEST_CAPABILITIES)?;
    match sealed {
        Ok(()) => Ok(Layers::CAPABILITIES),
        Err(Errno::INVAL | Errno::PERM) => Ok(Layers::default()),
        Err(error) => Err(error),
    }
}

fn restrict_files() -> Result<()> {
    let abi = sys::landlock_abi()?;
    landlock::restrict(u8::try_from(abi).unwrap_or(u8::MAX), None, DEVICES)
}

/// Loads the filter and discards its key: a container's guest sets nothing up.
fn load_filter() -> Result<()> {
    let key = sys::generate_key()?;
    sys::erase_key();
    filter::load_without_listener(key, SocketPolicy::LocalOnly)
}

/// Returns the layers that the container runtime has set up.
fn detect_layers() -> Layers {
    let mut layers = Layers::default();
    let mut note = |holds: Result<bool>, layer| {
        // A layer that the guest cannot check counts as missing.
        if holds == Ok(true) {
            layers = layers.with(layer);
        }
    };
    note(Ok(sys::pid() == 1), Layers::INIT);
    note(root_is_read_only(), Layers::READ_ONLY_ROOT);
    note(has_only_loopback(), Layers::NO_NETWORK);
    note(has_own_ids(), Layers::USER_NAMESPACE);
    layers
}

/// Returns `true` if root cannot create a file in the root directory.
fn root_is_read_only() -> Result<bool> {
    match sys::open(c"/.crucible-probe", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) {
        Err(error) => Ok(error == Errno::ROFS),
        Ok(file) => {
            sys::close(file);
            sys::unlink(c"/.crucible-probe").map(|()| false)
        }
    }
}

/// Returns `true` if the loopback is the only interface. `/proc/self/net/dev` has two lines of
/// headings, then one line for each interface, which begins with its name (proc(5)).
fn has_only_loopback() -> Result<bool> {
    let mut buffer = [0; 4096];
    let text = read_file(c"/proc/self/net/dev", &mut buffer)?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .skip(2)
        .map(<[u8]>::trim_ascii)
        .all(|line| line.is_empty() || line.starts_with(b"lo:")))
}

/// Returns `true` if the container has a user namespace of its own. The initial one maps every id
/// to itself (user_namespaces(7)).
fn has_own_ids() -> Result<bool> {
    let mut buffer = [0; 1024];
    let text = read_file(c"/proc/self/uid_map", &mut buffer)?;
    let mut numbers = text.split(u8::is_ascii_whitespace).filter(|number| !number.is_empty());
    let first = [numbers.next(), numbers.next(), numbers.next()];
    Ok(first != [Some(&b"0"[..]), Some(b"0"), Some(b"4294967295")])
}

fn read_file<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let file = sys::open(path, O_RDONLY | O_CLOEXEC, 0)?;
    let count = retry(|| sys::read(file, buffer));
    sys::close(file);
    Ok(buffer.get(..count?).unwrap_or_default())
}
