//! An interpreter that waits for its program, in a sandbox with an owner.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{Command, EngineError};
use crucible_guest::protocol::FrameKind;
use crucible_guest_client::errors::{lost, setup};
use crucible_guest_client::{Channel as _, ChannelExt as _, Disconnected, PendingRequest, files};

use super::interpreter_streams::InterpreterStreams;
use super::ready_language::ReadyLanguage;
use crate::linux::channel::GuestChannel;
use crate::linux::sys;

/// Interval between two checks of an interpreter that was taken before it was ready.
const READY_INTERVAL: Duration = Duration::from_micros(500);

/// An interpreter that waits for its program.
#[derive(Debug)]
pub(crate) struct WaitingInterpreter {
    id: u32,
    language: Arc<ReadyLanguage>,
    streams: InterpreterStreams,
}

/// An interpreter that has its program.
#[derive(Debug)]
pub(crate) struct StartedInterpreter<'a> {
    pub(crate) request: PendingRequest<'a>,
    pub(crate) stdin: OwnedFd,
    pub(crate) outputs: [OwnedFd; 2],
    /// The unanswered request with the start message, for [`check_started`].
    pub(crate) start: Option<PendingRequest<'a>>,
}

impl WaitingInterpreter {
    /// Adopts an interpreter over a channel without any other request.
    pub(crate) fn adopt(
        channel: &GuestChannel,
        language: Arc<ReadyLanguage>,
        streams: InterpreterStreams,
    ) -> Self {
        Self { id: channel.router().reserve_request(), language, streams }
    }

    /// Waits until the interpreter has imported its modules. Returns `false` if it has ended.
    pub(crate) async fn is_ready(&self) -> Result<bool, EngineError> {
        let fail = |error| setup("poll an interpreter", error);
        let stdin = &self.streams.stdin;
        loop {
            if sys::has_hung_up(stdin.as_fd()).map_err(fail)? {
                return Ok(false);
            }
            // The interpreter reads the byte in its input once it is ready.
            if rustix::io::ioctl_fionread(stdin).map_err(|error| fail(error.into()))? == 0 {
                return Ok(true);
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
    }

    /// Sends the start message, after which the interpreter is a running command.
    ///
    /// An interpreter that did not receive the message has not run the program. [`check_started`]
    /// detects that and fails.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a partial message in the channel. The sandbox is then
    /// unusable.
    pub(crate) async fn start<'a>(
        self,
        channel: &'a GuestChannel,
        command: &Command,
        has_input: bool,
    ) -> Result<StartedInterpreter<'a>, EngineError> {
        let Self { id, language, streams } = self;
        let InterpreterStreams { stdin, outputs: [stdout, stderr] } = streams;
        let fail = |error| setup("create the command's pipes", error);
        let stdout = sys::set_nonblocking(stdout).map_err(fail)?;
        let stderr = sys::set_nonblocking(stderr).map_err(fail)?;
        // The message goes through the guest, after the program's file. So the host does not wait
        // for the file.
        let start = channel.router().open_request();
        let message = language.start_message(command);
        let fds = [stdin.as_fd()];
        let sent = channel.send_with(FrameKind::WriteFd, start.id(), &message, &[], &fds).await;
        // A guest that is gone may have sent the reason, which is read later.
        Disconnected::unless_gone(sent)?;
        let mut start = Some(start);
        if has_input && let Some(start) = start.take() {
            // The program's input goes into the same pipe, and must come second.
            match channel.response(&start).await {
                Ok(frame) if frame.kind == FrameKind::Done => {}
                _ => return Err(not_started(channel)),
            }
        }
        let request = channel.router().resume_request(id);
        Ok(StartedInterpreter { request, stdin, outputs: [stdout, stderr], start })
    }
}

/// Checks that an interpreter that has ended received its start message.
///
/// # Errors
/// Fails if it did not. The program has then not run.
pub(crate) fn check_started(
    channel: &GuestChannel,
    start: &PendingRequest<'_>,
) -> Result<(), EngineError> {
    if channel.router().has_response(start.id(), &[FrameKind::Done]) {
        Ok(())
    } else {
        Err(not_started(channel))
    }
}

/// Returns the reason why an interpreter did not receive its start message.
fn not_started(channel: &GuestChannel) -> EngineError {
    let failed = files::check_inputs(channel);
    failed.err().unwrap_or_else(|| lost("giving an interpreter its program", false))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use crucible_core::EngineErrorKind;
    use crucible_guest_client::Frame;

    use super::*;
    use crate::linux::channel::{GuestSocket, socket_pair};

    #[tokio::test]
    async fn interpreter_without_start_message_has_not_run() {
        let (ours, _theirs) = socket_pair().unwrap();
        let channel = GuestChannel::new(GuestSocket::new(ours).unwrap());
        let start = channel.router().open_request();
        let error = check_started(&channel, &start).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Lost);
        assert!(!error.target_started());
        let done = Frame { kind: FrameKind::Done, id: start.id(), payload: Bytes::new() };
        channel.router().deliver(done);
        assert!(check_started(&channel, &start).is_ok());
    }
}
