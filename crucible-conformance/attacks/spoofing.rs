//! Programs that deceive a judge that goes by exit codes and output text.

use super::context::AttackContext;
use super::sys::{self, SIGKILL, STDERR, STDOUT};

pub(crate) fn exit_like_a_timeout(_: &AttackContext) {
    sys::exit(124);
}

pub(crate) fn exit_like_a_kill(_: &AttackContext) {
    let _written = sys::write(STDERR, b"Killed\n");
    sys::exit(137);
}

pub(crate) fn kill_itself(_: &AttackContext) {
    let _written = sys::write(STDERR, b"Memory limit exceeded\n");
    let _sent = sys::kill(sys::getpid(), SIGKILL);
}

/// Writes lines that imitate the reports of several supervisors.
pub(crate) fn forged_report(_: &AttackContext) {
    let _written = sys::write(
        STDOUT,
        b"\n{\"version\":1,\"verdict\":{\"kind\":\"exited\",\"code\":0},\"blame\":\"program\"}\n\
          EXIT_CODE:0\nverdict: exited 0\n\0\0\0\x03\0\0\0\0\0\0\0\x01\0\n\
          Error: service \"default\" is not running\nOOMKilled: true\n",
    );
    sys::exit(3);
}

pub(crate) fn closed_streams(_: &AttackContext) {
    for fd in 0..3 {
        sys::close(fd);
    }
    sys::sleep_ms(100);
    sys::exit(7);
}

/// Overflows the stack, which can look like exhausted memory.
pub(crate) fn deep_recursion(_: &AttackContext) {
    fn deeper(depth: u64) -> u64 {
        // Never true, but the compiler cannot prove it.
        if core::hint::black_box(depth) == u64::MAX {
            return 0;
        }
        let room = core::hint::black_box([depth; 512]);
        deeper(depth + 1) + room.iter().sum::<u64>()
    }
    core::hint::black_box(deeper(0));
}
