//! The other roles of this executable, on the host's side.

use core::ffi::{CStr, c_char};

use super::children;
use super::context::parse_number;
use super::report::TextBuffer;
use super::sockets;
use super::sys::{self, O_WRONLY, SIGKILL};
use super::{nr, reuse};

const WNOHANG: usize = 1;
const SETUP_FAILED: usize = 4;

/// Lives until its standard input ends: a process that attacks must not end.
pub(crate) fn bystander() -> ! {
    let mut byte = [0];
    while sys::read(0, &mut byte).is_ok_and(|count| count > 0) {}
    sys::exit(0)
}

/// Creates (`share KEY QUEUE`) or removes (`unshare KEY QUEUE`) a memory segment and a message
/// queue.
pub(crate) fn manage_shared_ipc(arguments: &[&'static CStr], made: bool) -> ! {
    let [_, key, queue, ..] = arguments else { sys::exit(2) };
    let key = usize::try_from(parse_number(key)).unwrap_or_default();
    let done =
        if made { sockets::make_shared(key, queue) } else { sockets::remove_shared(key, queue) };
    sys::exit(if done.is_ok() { 0 } else { SETUP_FAILED })
}

/// Removes the objects that an unsandboxed program left under a name (`forget NAME`).
pub(crate) fn forget(arguments: &[&'static CStr]) -> ! {
    let [_, name, ..] = arguments else { sys::exit(2) };
    // Most programs leave neither object.
    let _removed = sockets::remove_shared(reuse::key(name), name);
    sys::exit(0)
}

/// Runs an attack in scratch namespaces, in which it may do harm (`scratch KINDS NAME MARK ...`).
///
/// The kinds are letters: `m`ount, `u`ts, `i`pc, `n`etwork, `p`id, and `U`ser for ordinary users.
/// With `p`, a bystander runs beside the attack, and its end is reported as harm. `t` adds a
/// terminal, `2` runs the attack twice in a row, and `s` adds a supervisor: a parent process in its
/// own session that waits for the attack.
pub(crate) fn run_in_scratch_namespaces(arguments: &[&'static CStr]) -> ! {
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
        map_ids(c"/proc/self/setgroups", b"deny", None);
        map_ids(c"/proc/self/uid_map", b"0 ", Some(uid));
        map_ids(c"/proc/self/gid_map", b"0 ", Some(gid));
    }
    if kinds.contains(&b'm') {
        const PRIVATE_AND_ALL_BENEATH: usize = 1 << 18 | 0x4000;
        if sys::call(nr::MOUNT, [0, sys::cstr_ptr(c"/"), 0, PRIVATE_AND_ALL_BENEATH, 0]).is_err() {
            sys::exit(SETUP_FAILED);
        }
    }
    if kinds.contains(&b't') && open_controlling_terminal().is_err() {
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
    // The first child is process 1 of the new PID namespace.
    match children::start(|| run_as_init(rest)).and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) => exit_like(status),
        Err(_) => sys::exit(SETUP_FAILED),
    }
}

const GETGID: u32 = 104;

fn map_ids(path: &CStr, start: &[u8], id: Option<usize>) {
    let mut line = TextBuffer::new();
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

/// Opens a pseudoterminal as standard input and as the controlling terminal of a new session.
fn open_controlling_terminal() -> sys::Result<()> {
    const TIOCSCTTY: usize = 0x540E;
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTN: usize = 0x8004_5430;
    let _leads_already = sys::call(nr::SETSID, []);
    let controller = sys::open(c"/dev/ptmx", sys::O_RDWR)?;
    let unlock = 0i32;
    sys::call(nr::IOCTL, [controller, TIOCSPTLCK, sys::ptr(&unlock)])?;
    let mut number = 0u32;
    sys::call(nr::IOCTL, [controller, TIOCGPTN, sys::mut_ptr(&mut number)])?;
    let mut path = TextBuffer::new();
    let terminal =
        sys::open(path.push(b"/dev/pts/").number(u64::from(number)).path(), sys::O_RDWR)?;
    sys::call(nr::IOCTL, [terminal, TIOCSCTTY, 0])?;
    sys::call(nr::DUP2, [terminal, 0]).map(drop)
}

fn supervise(rest: &[&'static CStr]) -> ! {
    let supervisor = children::start(|| {
        let _session = sys::call(nr::SETSID, []);
        match children::start(|| execute(rest)).and_then(|pid| sys::wait(pid, 0)) {
            Ok((_, status)) => exit_like(status),
            Err(_) => sys::exit(SETUP_FAILED),
        }
    });
    match supervisor.and_then(|pid| sys::wait(pid, 0)) {
        Ok((_, status)) => exit_like(status),
        Err(_) => sys::exit(SETUP_FAILED),
    }
}

fn run_as_init(rest: &[&'static CStr]) -> ! {
    let beside = children::start(|| {
        // Longer than any attack. The end of the namespace ends this process as well.
        sys::sleep_ms(60_000);
    });
    let attack = children::start(|| execute(rest));
    let (Ok(beside), Ok(attack)) = (beside, attack) else { sys::exit(SETUP_FAILED) };
    let Ok((_, status)) = sys::wait(attack, 0) else { sys::exit(SETUP_FAILED) };
    if sys::wait(beside, WNOHANG).is_ok_and(|(pid, _)| pid > 0) {
        let mark = rest.get(1).copied().unwrap_or_default();
        TextBuffer::new()
            .push(mark.to_bytes())
            .push(b" harm a process beside the attack was ended")
            .write();
    }
    exit_like(status)
}

fn exit_like(status: u32) -> ! {
    if status & 0x7f == 0 {
        sys::exit(usize::try_from(status >> 8 & 0xff).unwrap_or(SETUP_FAILED));
    }
    let signal = usize::try_from(status & 0x7f).unwrap_or(SIGKILL);
    let _sent = sys::kill(sys::getpid(), signal);
    sys::exit(128 + signal)
}

fn execute(rest: &[&'static CStr]) -> ! {
    let mut arguments: [*const c_char; 20] = [core::ptr::null(); 20];
    // The last pointer stays null.
    for (slot, argument) in arguments.iter_mut().take(19).zip([c"attacks"].iter().chain(rest)) {
        *slot = argument.as_ptr();
    }
    let _failed = sys::execute(c"/proc/self/exe", &arguments);
    sys::exit(SETUP_FAILED)
}
