//! The start of an interpreter in a new sandbox, and its streams.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crucible_core::EngineError;
use crucible_guest::protocol::{self, FrameKind, STDIO_PASSED, WriteRequest};
use crucible_guest_client::errors::setup;
use crucible_guest_client::request;
use rustix::pipe::PipeFlags;

use super::ready_language::ReadyLanguage;
use crate::linux::channel::send_blocking;

/// The path of the bootstrap, which the interpreter removes once it is ready.
const BOOTSTRAP_FILE: &[u8] = b".crucible/sitecustomize.py\0";
/// The id of the requests that start an interpreter: the first id that a router assigns.
pub(super) const START_REQUEST: u32 = 1;

/// The host's ends of an interpreter's streams.
#[derive(Debug)]
pub(crate) struct InterpreterStreams {
    pub(super) stdin: OwnedFd,
    pub(super) outputs: [OwnedFd; 2],
}

impl InterpreterStreams {
    /// Sends the bootstrap to a new sandbox, and requests the start of the interpreter.
    pub(crate) fn start(
        language: &ReadyLanguage,
        rlimits: &[u8],
        channel: BorrowedFd<'_>,
    ) -> Result<Self, EngineError> {
        let pipe = || {
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
                .map_err(|error| setup("create the command's pipes", error))
        };
        let ((stdin_theirs, stdin), (stdout, stdout_theirs), (stderr, stderr_theirs)) =
            (pipe()?, pipe()?, pipe()?);
        // The interpreter reads this byte once it is ready.
        rustix::io::write(&stdin, b"r").map_err(|error| setup("start an interpreter", error))?;
        let write = WriteRequest {
            first: true,
            last: true,
            quiet: true,
            mode: 0o600,
            path: BOOTSTRAP_FILE,
            data: &[],
        };
        let capacity = 64 + BOOTSTRAP_FILE.len();
        let mut payload = request::encode(capacity, |writer| write.encode_head(writer))?;
        payload.extend_from_slice(language.bootstrap().as_bytes());
        send_blocking(channel, FrameKind::Write, START_REQUEST, &payload, &[])?;
        let parameters = request::ExecParameters {
            stdio: STDIO_PASSED,
            variables: &[],
            on_exit: protocol::OnExit::Seal,
            // The interpreter may wait for long. The host's clock enforces the wall limit.
            deadline_us: 0,
            status: true,
            quiet_us: 0,
            lend_mounts: false,
            rlimits,
        };
        let payload = request::exec(&language.start_command(), parameters)?;
        let fds = [stdin_theirs.as_fd(), stdout_theirs.as_fd(), stderr_theirs.as_fd()];
        send_blocking(channel, FrameKind::Exec, START_REQUEST, &payload, &fds)?;
        Ok(Self { stdin, outputs: [stdout, stderr] })
    }
}

#[cfg(test)]
mod tests {
    use crucible_guest_client::ResponseRouter;

    use super::*;

    #[test]
    fn start_request_has_the_first_id_of_a_router() {
        assert_eq!(ResponseRouter::new().reserve_request(), START_REQUEST);
    }
}
