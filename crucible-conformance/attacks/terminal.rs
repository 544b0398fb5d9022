//! Attacks on the operator's terminal.

use super::context::AttackContext;
use super::nr;
use super::sys::{self, O_RDWR};

const TIOCSTI: usize = 0x5412;
const TIOCLINUX: usize = 0x541C;
const TIOCSCTTY: usize = 0x540E;

/// Inserts a character into the input of each reachable terminal (CVE-2017-5226).
pub(crate) fn type_ahead(context: &AttackContext) {
    let character = b'x';
    for fd in 0..3 {
        context
            .report_attempt(b"TIOCSTI", &sys::call(nr::IOCTL, [fd, TIOCSTI, sys::ptr(&character)]));
    }
    if sys::open(c"/dev/tty", O_RDWR).is_ok() {
        context.report_harm(b"it has a terminal");
    }
}

/// Pastes the console's selection.
pub(crate) fn paste(context: &AttackContext) {
    let subcode = 3u8;
    for fd in 0..3 {
        context.report_attempt(
            b"TIOCLINUX",
            &sys::call(nr::IOCTL, [fd, TIOCLINUX, sys::ptr(&subcode)]),
        );
    }
}

/// Opens a terminal as the controlling terminal of a new session.
pub(crate) fn take_terminal(context: &AttackContext) {
    let _session = sys::call(nr::SETSID, []);
    for path in [c"/dev/tty0", c"/dev/tty1", c"/dev/console", c"/dev/pts/0", c"/dev/ptmx"] {
        if let Ok(terminal) = sys::open(path, O_RDWR) {
            context.report_harm(path.to_bytes());
            let _taken = sys::call(nr::IOCTL, [terminal, TIOCSCTTY, 0]);
        }
    }
}
