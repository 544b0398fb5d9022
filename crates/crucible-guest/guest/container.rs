//! The role `serve`: process 1 of a container, which somebody else has made.
//!
//! It was started as root, with a few capabilities, in a read-only root. Before it serves anybody it puts on itself what a
//! guest can, so that every command has it, and looks what of the rest is in force. What it could not put on is missing from
//! its greeting; the host decides what that means.

use super::arguments::Arguments;
use super::cgroup::Cgroup;
use super::control::Control;
use super::disk::Disk;
use super::errno::{Errno, Result, retry};
use super::landlock;
use super::oom::Score;
use super::seccomp::{self, Sockets};
use super::serve::{self, Container, Guest, Place};
use super::spawn::{At as _, StepError};
use super::sys::{self, Fd, O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_WRONLY};
use super::target;
use crate::protocol::{Layers, Step};

/// The devices that programs may write to. A container has more: terminals above all.
const DEVICES: &[&core::ffi::CStr] =
    &[c"/dev/null", c"/dev/zero", c"/dev/full", c"/dev/random", c"/dev/urandom"];

/// Options: `--id N`, the target's user and group id; `--here`, serve in the directory in which the guest was started instead
/// of `/box`, and put nothing on; `--disk N` and `--inodes N`, what may be used in all places that can be written to;
/// `--oom-first`, the kernel ends programs rather than the guest when memory runs out; `--no-seccomp`, `--no-landlock`, for a host that does
/// without.
pub(crate) fn main(arguments: &Arguments) -> ! {
    let control = Control::pipes(Fd(0), Fd(1));
    let started = arrange_descriptors(control).at(Step::DESCRIPTORS).and_then(|control| {
        if arguments.has(b"--here") {
            here(arguments, control)
        } else {
            contained(arguments, control)
        }
    });
    match started {
        Ok(guest) => match guest.say_ready() {
            Ok(()) => serve::run(guest),
            Err(_) => sys::exit(1),
        },
        Err(StepError(step, error)) => {
            // Where the pipes are depends on how far we have come. If the host cannot be told, it is gone.
            if Control::pipes(Fd(3), Fd(4)).fail(0, step, error).is_err() {
                let _told = control.fail(0, step, error);
            }
            sys::exit(1)
        }
    }
}

/// The control pipes become 3 and 4, and the standard streams lead nowhere.
fn arrange_descriptors(control: Control) -> Result<Control> {
    sys::reset_signals()?;
    sys::duplicate_onto(control.input, Fd(3))?;
    sys::duplicate_onto(Fd(1), Fd(4))?;
    let null = sys::open(c"/dev/null", 2 | O_CLOEXEC, 0)?;
    for stream in 0..3 {
        sys::duplicate_onto(null, Fd(stream))?;
    }
    sys::close_from(5)?;
    if sys::pid() != 1 {
        // What a command leaves behind comes to us all the same.
        sys::become_subreaper()?;
    }
    Ok(Control::pipes(Fd(3), Fd(4)))
}

fn target_id(arguments: &Arguments) -> Option<u32> {
    arguments.number(b"--id").and_then(|id| u32::try_from(id).ok())
}

fn here(arguments: &Arguments, control: Control) -> core::result::Result<Guest, StepError> {
    let place = Place {
        directory: c".",
        single_id: false,
        target_id: target_id(arguments),
        bounded: false,
        score: None,
        sealed: false,
    };
    Guest::new(control, place)
}

fn contained(arguments: &Arguments, control: Control) -> core::result::Result<Guest, StepError> {
    sys::set_name(c"crucible-guest");
    arguments.forget_environment();
    let Some(id) = target_id(arguments).filter(|id| *id != 0) else {
        return Err(StepError(Step::CREDENTIALS, Errno::INVAL));
    };
    let mut layers = found();
    let score = arguments.has(b"--oom-first").then(Score::open).and_then(Result::ok);
    let disk = match (arguments.number(b"--disk"), arguments.number(b"--inodes")) {
        (Some(bytes), Some(inodes)) => Some(Disk::open(bytes, inodes).at(Step::OPEN_BOX)?),
        _ => None,
    };
    layers = layers.with(disk.as_ref().map(Disk::layers).unwrap_or_default());
    let cgroup = Cgroup::find();
    layers = layers.with(cgroup.map(Cgroup::layer).unwrap_or_default());
    sys::drop_groups().at(Step::CREDENTIALS)?;
    layers = layers.with(drop_capabilities().at(Step::CAPABILITIES)?);
    sys::set_undumpable().at(Step::CAPABILITIES)?;
    if sys::set_no_new_privs().is_ok() {
        layers = layers.with(Layers::NO_NEW_PRIVS);
    }
    if !arguments.has(b"--no-landlock") && restrict_files().is_ok() {
        layers = layers.with(Layers::LANDLOCK);
    }
    let place = Place {
        directory: c"/box",
        single_id: false,
        target_id: Some(id),
        bounded: true,
        score,
        sealed: true,
    };
    let guest = Guest::new(control, place)?;
    // The last: what the steps above take, the filter refuses.
    if !arguments.has(b"--no-seccomp") && refuse_calls().is_ok() {
        layers = layers.with(Layers::SECCOMP);
    }
    Ok(guest.in_container(Container { layers, cgroup, disk }))
}

/// The bounding set is emptied, and what is not needed any more is given up. Where a kernel that stands in for Linux knows no
/// secure bits, nothing is lost by it: the target is not root, and nothing that it executes gains a privilege.
fn drop_capabilities() -> Result<Layers> {
    let sealed = target::seal_capabilities();
    sys::set_capabilities(target::KEPT)?;
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

/// Nobody has the key: nothing is set up in a container.
fn refuse_calls() -> Result<()> {
    let key = sys::make_key()?;
    sys::forget_key();
    seccomp::load_without_listener(key, Sockets::Local)
}

/// Which layers whoever made the container has put on.
fn found() -> Layers {
    let mut layers = Layers::default();
    let mut note = |holds: Result<bool>, layer| {
        // What cannot be looked at is not in force.
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

/// By trying: as root, in the root directory.
fn root_is_read_only() -> Result<bool> {
    match sys::open(c"/.crucible-probe", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) {
        Err(error) => Ok(error == Errno::ROFS),
        Ok(file) => {
            sys::close(file);
            sys::unlink(c"/.crucible-probe").map(|()| false)
        }
    }
}

/// Two lines of headings, then one for each interface, which begins with its name (proc(5)).
fn has_only_loopback() -> Result<bool> {
    let mut buffer = [0; 4096];
    let text = read(c"/proc/self/net/dev", &mut buffer)?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .skip(2)
        .map(<[u8]>::trim_ascii)
        .all(|line| line.is_empty() || line.starts_with(b"lo:")))
}

/// A user namespace that maps every id to itself is the first one (user_namespaces(7)).
fn has_own_ids() -> Result<bool> {
    let mut buffer = [0; 1024];
    let text = read(c"/proc/self/uid_map", &mut buffer)?;
    let mut numbers = text.split(u8::is_ascii_whitespace).filter(|number| !number.is_empty());
    let first = [numbers.next(), numbers.next(), numbers.next()];
    Ok(first != [Some(&b"0"[..]), Some(b"0"), Some(b"4294967295")])
}

fn read<'a>(path: &core::ffi::CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let file = sys::open(path, O_RDONLY | O_CLOEXEC, 0)?;
    let count = retry(|| sys::read(file, buffer));
    sys::close(file);
    Ok(buffer.get(..count?).unwrap_or_default())
}
