//! What is left for the next: each is run twice in a row, and looks first for what it left before.

use core::ffi::CStr;

use super::report::Line;
use super::scene::Scene;
use super::sys::{self, O_CREAT, O_WRONLY};
use super::{children, nr, sockets};

/// The places that can be written to, by every name that they have.
const PLACES: [&CStr; 7] =
    [c"/tmp", c"/var/tmp", c"/dev/shm", c"/box", c"/dev/mqueue", c"/run/lock", c"/run"];

pub(crate) fn leave_files(scene: &Scene) {
    let places = || PLACES.into_iter().chain([scene.place]);
    let path_in = |place: &CStr| {
        let mut path = Line::new();
        path.push(place.to_bytes()).push(b"/").push(scene.extra.to_bytes());
        path
    };
    // Some are the same place by another name, so that all are looked at before any is written to.
    let mut found = false;
    for place in places() {
        if sys::open(path_in(place).path(), 0).is_ok() {
            scene.harm(place.to_bytes());
            let _removed = sys::unlink(path_in(place).path());
            found = true;
        }
    }
    let mut left = 0;
    for place in places() {
        left += usize::from(!found && sys::open(path_in(place).path(), O_CREAT | O_WRONLY).is_ok());
    }
    scene.found(if left > 0 { b"left some" } else { b"left none" });
}

/// The number of the segment that a name stands for.
pub(crate) fn key(name: &CStr) -> usize {
    name.to_bytes().iter().fold(7, |key, byte| key * 31 % 0x7fff_ffff + usize::from(*byte))
}

pub(crate) fn leave_segment(scene: &Scene) {
    const IPC_CREAT: usize = 0o1000;
    const IPC_EXCL: usize = 0o2000;
    const IPC_RMID: usize = 0;
    match sys::call(nr::SHMGET, [key(scene.extra), 4096, 0]) {
        Ok(segment) => {
            scene.harm(b"a segment");
            let _removed = sys::call(nr::SHMCTL, [segment, IPC_RMID, 0]);
        }
        Err(_) => {
            let made = sys::call(nr::SHMGET, [key(scene.extra), 4096, IPC_CREAT | IPC_EXCL | 0o666]);
            scene.found(if made.is_ok() { b"left one" } else { b"left none" });
        }
    }
}

pub(crate) fn leave_queue(scene: &Scene) {
    match sys::call(nr::MQ_OPEN, [sys::at(scene.extra), sys::O_RDWR, 0, 0]) {
        Ok(_) => {
            scene.harm(b"a queue");
            let _removed = sys::call(nr::MQ_UNLINK, [sys::at(scene.extra)]);
        }
        Err(_) => {
            let made = sockets::make_queue(scene.extra);
            scene.found(if made.is_ok() { b"left one" } else { b"left none" });
        }
    }
}

/// By a process that goes on, since nothing else keeps a socket.
pub(crate) fn leave_abstract_socket(scene: &Scene) {
    match sockets::listen(scene.extra.to_bytes()) {
        Ok(_) => {
            let _left = children::start(|| {
                children::go_deaf();
                children::linger();
            });
            scene.found(b"left one");
        }
        // `EADDRINUSE`
        Err(sys::Errno(98)) => scene.harm(b"somebody listens"),
        Err(error) => scene.broken(b"listen", error),
    }
}

/// The processes whose command line has the same text besides its own.
pub(crate) fn leave_process(scene: &Scene) {
    for pid in 2..2000 {
        let mut path = Line::new();
        path.push(b"/proc/").number(pid).push(b"/cmdline");
        let mut bytes = [0; 512];
        let found = sys::open(path.path(), 0).and_then(|file| {
            let count = sys::read(file, &mut bytes);
            sys::close(file);
            count
        });
        let text = found.ok().and_then(|count| bytes.get(..count)).unwrap_or_default();
        let wanted = scene.extra.to_bytes();
        let own = u64::from(sys::getpid().unsigned_abs());
        if pid != own && text.windows(wanted.len()).any(|part| part == wanted) {
            scene.harm(b"a process");
        }
    }
    let _left = children::start(|| {
        let _session = sys::call(nr::SETSID, []);
        children::go_deaf();
        children::linger();
    });
}

pub(crate) fn leave_host_name(scene: &Scene) {
    let mut names = [0u8; 390];
    const UNAME: u32 = 63;
    if let Err(error) = sys::call(UNAME, [sys::into(&mut names)]) {
        scene.broken(b"uname", error);
    }
    let wanted = scene.extra.to_bytes();
    if names.windows(wanted.len()).any(|part| part == wanted) {
        scene.harm(b"the name");
    }
    let named = sys::call(nr::SETHOSTNAME, [sys::at(scene.extra), wanted.len()]);
    scene.found(if named.is_ok() { b"left one" } else { b"left none" });
}

/// In the keyring of the user.
pub(crate) fn leave_keys(scene: &Scene) {
    const KEYCTL_SEARCH: usize = 10;
    let keyring = sys::argument(-4);
    let (kind, name) = (sys::at(c"user"), sys::at(scene.extra));
    if sys::call(nr::KEYCTL, [KEYCTL_SEARCH, keyring, kind, name, 0]).is_ok() {
        scene.harm(b"a key");
    }
    let made = sys::call(nr::ADD_KEY, [kind, name, sys::at(c"x"), 1, keyring]);
    scene.found(if made.is_ok() { b"left one" } else { b"left none" });
}

/// How readily the kernel ends the process when memory runs out.
pub(crate) fn leave_oom_score(scene: &Scene) {
    let mut score = [0; 8];
    let read = sys::open(c"/proc/self/oom_score_adj", 0).and_then(|file| sys::read(file, &mut score));
    match read {
        Ok(count) if score.get(..count).is_some_and(|text| text.starts_with(b"1000")) => scene.harm(b"the score"),
        Ok(_) => {}
        Err(error) => scene.broken(b"oom_score_adj", error),
    }
    let written = sys::open(c"/proc/self/oom_score_adj", O_WRONLY).and_then(|file| sys::write(file, b"1000"));
    scene.found(if written.is_ok() { b"left one" } else { b"left none" });
}
