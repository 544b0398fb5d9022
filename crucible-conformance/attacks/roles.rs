//! What is no attack: the other roles of this program, on the host's side.

use core::ffi::{CStr, c_char};

use super::children;
use super::context::parse_number;
use super::report::ReportLine;
use super::sockets;
use super::sys::{self, O_WRONLY, SIGKILL};
use super::{nr, reuse};

const WNOHANG: usize = 1;
const SETUP_FAILED: usize = 4;

/// Lives until its standard input ends: a process that attacks must leave alone.
pub(crate) fn bystander() -> ! {
    let mut byte = [0];
    while sys::read(0, &mut byte).is_ok_and(|count| count > 0) {}
    sys::exit(0)
}

/// `share KEY QUEUE`, `unshare KEY QUEUE`: makes or removes a memory segment and a message queue.
pub(crate) fn shared(arguments: &[&'static CStr], made: bool) -> ! {
    let [_, key, queue, ..] = arguments else { sys::exit(2) };
    let key = usize::try_from(parse_number(key)).unwrap_or_default();
    let done =
        if made { sockets::make_shared(key, queue) } else { sockets::remove_shared(key, queue) };
    sys::exit(if done.is_ok() { 0 } else { SETUP_FAILED })
}

/// `forget NAME`: removes what programs without a namespace of their own have left for the next under this name.
pub(crate) fn forget(arguments: &[&'static CStr]) -> ! {
    let [_, name, ..] = arguments else { sys::exit(2) };
    // Most leave neither.
    let _removed = sockets::remove_shared(reuse::key(name), name);
    sys::exit(0)
}

/// `scratch KINDS NAME MARK ...`: runs an attack in namespaces of its own, in which it may do harm.
///
/// The kinds are letters: `m`ount, `u`ts, `i`pc, `n`etwork, `p`id (with a process beside the attack, whose end is told),
/// and `U`ser, for those who are not root; `t` for a terminal of its own, `2` for two runs in a row, and `s` for a
/// supervisor: a process above the attack, in a session of its own, that waits for it.
pub(crate) fn main(arguments: &[&'static CStr]) -> ! {
    let [_, kinds, rest @ ..] = arguments else { sys::exit(2) };
    let kinds = kinds.to_bytes();
    let flags = [
        (b'm', 0x0002_0000),
        (b'u', 0x0400_0000),
        (b'i', 0x0800_0000),
        (b'n', 0x4000_0000),
        (b'p', 0x2000_0000),
        (b'U', 0x1000_0000),
    ]
    .into_iter()
    .filter(|(kind, _)| kinds.contains(kind))
    .fold(0, |flags, (_, flag)| flags | flag);
    let (uid, gid) = (sys::call(nr::GETUID, []), sys::call(GETGID, []));
    if sys::call(nr::UNSHARE, [flags]).is_err() {
        sys::exit(SETUP_FAILED);
    }
    if kinds.contains(&b'U') {
        let (Ok(uid), Ok(gid)) = (uid, gid) else { sys::exit(SETUP_FAILED) };
        map(c"/proc/self/setgroups", b"deny", None);
        map(c"/proc/self/uid_map", b"0 ", Some(uid));
        map(c"/proc/self/gid_map", b"0 ", Some(gid));
    }
    if kinds.contains(&b'm') {
        const PRIVATE_AND_ALL_BENEATH: usize = 1 << 18 | 0x4000;
        if sys::call(nr::MOUNT, [0, sys::cstr_ptr(c"/"), 0, PRIVATE_AND_ALL_BENEATH, 0]).is_err() {
            sys::exit(SETUP_FAILED);
        }
    }
    if kinds.contains(&b't') && lead_a_terminal().is_err() {
        sys::exit(SETUP_FAILED);
    }
    if kinds.contains(&b'2')
        && children::start(|| execute(rest)).and_then(|pid| sys::wait(pid, 0)).is_err()
    {
        sys::exit(SETUP_FAILED);
    }
    if kinds.contains(&b's') {
        supervise(rest);
    }
    if !kinds.contains(&b'p') {
        execute(rest);
    }
    // The first child is process 1 of the new namespace.
    match children::start(|| first(rest)).and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) => end_like(status),
        Err(_) => sys::exit(SETUP_FAILED),
    }
}

const GETGID: u32 = 104;

fn map(path: &CStr, start: &[u8], id: Option<usize>) {
    let mut line = ReportLine::new();
    line.push(start);
    if let Some(id) = id {
        line.number(u64::try_from(id).unwrap_or_default()).push(b" 1");
    }
    let written =
        sys::open(path, O_WRONLY).and_then(|file| sys::write(file, line.path().to_bytes()));
    if written.is_err() {
        sys::exit(SETUP_FAILED);
    }
}

/// A new pseudoterminal becomes standard input, and the session's own.
fn lead_a_terminal() -> sys::Result<()> {
    const TIOCSCTTY: usize = 0x540E;
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTN: usize = 0x8004_5430;
    let _leads_already = sys::call(nr::SETSID, []);
    let controller = sys::open(c"/dev/ptmx", sys::O_RDWR)?;
    let unlock = 0i32;
    sys::call(nr::IOCTL, [controller, TIOCSPTLCK, sys::ptr(&unlock)])?;
    let mut number = 0u32;
    sys::call(nr::IOCTL, [controller, TIOCGPTN, sys::mut_ptr(&mut number)])?;
    let mut path = ReportLine::new();
    let terminal =
        sys::open(path.push(b"/dev/pts/").number(u64::from(number)).path(), sys::O_RDWR)?;
    sys::call(nr::IOCTL, [terminal, TIOCSCTTY, 0])?;
    sys::call(nr::DUP2, [terminal, 0]).map(drop)
}

fn supervise(rest: &[&'static CStr]) -> ! {
    let supervisor = children::start(|| {
        let _session = sys::call(nr::SETSID, []);
        match children::start(|| execute(rest)).and_then(|pid| sys::wait(pid, 0)) {
            Ok((_, status)) => end_like(status),
            Err(_) => sys::exit(SETUP_FAILED),
        }
    });
    match supervisor.and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) => end_like(status),
        Err(_) => sys::exit(SETUP_FAILED),
    }
}

fn first(rest: &[&'static CStr]) -> ! {
    let beside = children::start(|| {
        // Longer than any attack, and it ends with the namespace.
        sys::sleep_ms(60_000);
    });
    let attack = children::start(|| execute(rest));
    let (Ok(beside), Ok(attack)) = (beside, attack) else { sys::exit(SETUP_FAILED) };
    let Ok((_, status)) = sys::wait(attack, 0) else { sys::exit(SETUP_FAILED) };
    if sys::wait(beside, WNOHANG).is_ok_and(|(pid, _)| pid > 0) {
        let mark = rest.get(1).copied().unwrap_or_default();
        ReportLine::new()
            .push(mark.to_bytes())
            .push(b" harm a process beside it was ended")
            .write();
    }
    end_like(status)
}

fn end_like(status: u32) -> ! {
    if status & 0x7f == 0 {
        sys::exit(usize::try_from(status >> 8 & 0xff).unwrap_or(SETUP_FAILED));
    }
    let signal = usize::try_from(status & 0x7f).unwrap_or(SIGKILL);
    let _sent = sys::kill(sys::getpid(), signal);
    sys::exit(128 + signal)
}

fn execute(rest: &[&'static CStr]) -> ! {
    let mut arguments: [*const c_char; 20] = [core::ptr::null(); 20];
    // The last stays null.
    for (slot, argument) in arguments.iter_mut().take(19).zip([c"attacks"].iter().chain(rest)) {
        *slot = argument.as_ptr();
    }
    let _failed = sys::execute(c"/proc/self/exe", &arguments);
    sys::exit(SETUP_FAILED)
}
