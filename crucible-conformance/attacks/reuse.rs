//! Attacks by leftovers. Each program runs twice in a row, and first looks for its own
//! leftovers.

use core::ffi::CStr;

use super::context::AttackContext;
use super::report::TextBuffer;
use super::sys::{self, O_CREAT, O_WRONLY};
use super::{children, nr, sockets};

/// Directories that can be writable, under all their names.
const PLACES: [&CStr; 7] =
    [c"/tmp", c"/var/tmp", c"/dev/shm", c"/box", c"/dev/mqueue", c"/run/lock", c"/run"];

pub(crate) fn leave_files(context: &AttackContext) {
    let places = || PLACES.into_iter().chain([context.work_dir]);
    let path_in = |place: &CStr| {
        let mut path = TextBuffer::new();
        path.push(place.to_bytes()).push(b"/").push(context.parameter.to_bytes());
        path
    };
    // Some names lead to the same directory, so that the program reads all before it writes to any.
    let mut found = false;
    for place in places() {
        if sys::open(path_in(place).path(), 0).is_ok() {
            context.report_harm(place.to_bytes());
            let _removed = sys::unlink(path_in(place).path());
            found = true;
        }
    }
    let mut left = 0;
    for place in places() {
        left += usize::from(!found && sys::open(path_in(place).path(), O_CREAT | O_WRONLY).is_ok());
    }
    context.report_finding(if left > 0 { b"left some" } else { b"left none" });
}

/// Returns the segment key of a name.
pub(crate) fn key(name: &CStr) -> usize {
    name.to_bytes().iter().fold(7, |key, byte| key * 31 % 0x7fff_ffff + usize::from(*byte))
}

pub(crate) fn leave_segment(context: &AttackContext) {
    const IPC_CREAT: usize = 0o1000;
    const IPC_EXCL: usize = 0o2000;
    const IPC_RMID: usize = 0;
    match sys::call(nr::SHMGET, [key(context.parameter), 4096, 0]) {
        Ok(segment) => {
            context.report_harm(b"a segment");
            let _removed = sys::call(nr::SHMCTL, [segment, IPC_RMID, 0]);
        }
        Err(_) => {
            let made =
                sys::call(nr::SHMGET, [key(context.parameter), 4096, IPC_CREAT | IPC_EXCL | 0o666]);
            context.report_finding(if made.is_ok() { b"left one" } else { b"left none" });
        }
    }
}

pub(crate) fn leave_queue(context: &AttackContext) {
    match sys::call(nr::MQ_OPEN, [sys::cstr_ptr(context.parameter), sys::O_RDWR, 0, 0]) {
        Ok(_) => {
            context.report_harm(b"a queue");
            let _removed = sys::call(nr::MQ_UNLINK, [sys::cstr_ptr(context.parameter)]);
        }
        Err(_) => {
            let made = sockets::make_queue(context.parameter);
            context.report_finding(if made.is_ok() { b"left one" } else { b"left none" });
        }
    }
}

/// Leaves a process that keeps an abstract socket open.
pub(crate) fn leave_abstract_socket(context: &AttackContext) {
    match sockets::listen(context.parameter.to_bytes()) {
        Ok(_) => {
            let _left = children::start(|| {
                children::ignore_all_signals();
                children::linger();
            });
            context.report_finding(b"left one");
        }
        // `EADDRINUSE`
        Err(sys::SysError(98)) => context.report_harm(b"a listener"),
        Err(error) => context.abort_setup(b"listen", error),
    }
}

/// Leaves a daemon, and looks for other processes with the same mark in the command line.
pub(crate) fn leave_process(context: &AttackContext) {
    for pid in 2..2000 {
        let mut path = TextBuffer::new();
        path.push(b"/proc/").number(pid).push(b"/cmdline");
        let mut bytes = [0; 512];
        let found = sys::open(path.path(), 0).and_then(|file| {
            let count = sys::read(file, &mut bytes);
            sys::close(file);
            count
        });
        let text = found.ok().and_then(|count| bytes.get(..count)).unwrap_or_default();
        let wanted = context.parameter.to_bytes();
        let own = u64::from(sys::getpid().unsigned_abs());
        if pid != own && text.windows(wanted.len()).any(|part| part == wanted) {
            context.report_harm(b"a process");
        }
    }
    let _left = children::start(|| {
        let _session = sys::call(nr::SETSID, []);
        children::ignore_all_signals();
        children::linger();
    });
}

pub(crate) fn leave_host_name(context: &AttackContext) {
    let mut names = [0u8; 390];
    const UNAME: u32 = 63;
    if let Err(error) = sys::call(UNAME, [sys::mut_ptr(&mut names)]) {
        context.abort_setup(b"uname", error);
    }
    let wanted = context.parameter.to_bytes();
    if names.windows(wanted.len()).any(|part| part == wanted) {
        context.report_harm(b"the name");
    }
    let named = sys::call(nr::SETHOSTNAME, [sys::cstr_ptr(context.parameter), wanted.len()]);
    context.report_finding(if named.is_ok() { b"left one" } else { b"left none" });
}

/// Leaves a key in the keyring of the user.
pub(crate) fn leave_keys(context: &AttackContext) {
    const KEYCTL_SEARCH: usize = 10;
    let keyring = sys::signed(-4);
    let (kind, name) = (sys::cstr_ptr(c"user"), sys::cstr_ptr(context.parameter));
    if sys::call(nr::KEYCTL, [KEYCTL_SEARCH, keyring, kind, name, 0]).is_ok() {
        context.report_harm(b"a key");
    }
    let made = sys::call(nr::ADD_KEY, [kind, name, sys::cstr_ptr(c"x"), 1, keyring]);
    context.report_finding(if made.is_ok() { b"left one" } else { b"left none" });
}

/// Leaves a process with a raised OOM score, which the kernel kills first.
pub(crate) fn leave_oom_score(context: &AttackContext) {
    let mut score = [0; 8];
    let read =
        sys::open(c"/proc/self/oom_score_adj", 0).and_then(|file| sys::read(file, &mut score));
    match read {
        Ok(count) if score.get(..count).is_some_and(|text| text.starts_with(b"1000")) => {
            context.report_harm(b"the score")
        }
        Ok(_) => {}
        Err(error) => context.abort_setup(b"oom_score_adj", error),
    }
    let written =
        sys::open(c"/proc/self/oom_score_adj", O_WRONLY).and_then(|file| sys::write(file, b"1000"));
    context.report_finding(if written.is_ok() { b"left one" } else { b"left none" });
}
