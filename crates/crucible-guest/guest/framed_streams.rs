//! The standard streams of a command as frames, for hosts that cannot pass pipes.

use super::host_channel::HostChannel;
use super::static_cell::StaticCell;
use super::sys::{self, Errno, Fd, POLLERR, POLLHUP, POLLIN, POLLOUT, PollFd, Result, retry};
use crate::protocol::{FrameKind, Step};

/// The maximum number of bytes per read or write: the capacity of a pipe.
const PIECE: usize = 64 * 1024;

static OUTPUT: StaticCell<[u8; PIECE]> = StaticCell::new([0; PIECE]);
static INPUT: StaticCell<[u8; PIECE]> = StaticCell::new([0; PIECE]);

/// No descriptor. poll(2) ignores it.
const NONE: Fd = Fd(-1);

/// Input that the command's pipe has not accepted yet.
struct PendingInput {
    id: u32,
    from: usize,
    to: usize,
}

/// The guest's ends of the command's pipes, and the input that waits for them.
pub(crate) struct FramedStreams {
    stdin: Fd,
    /// Standard output, standard error.
    outputs: [Fd; 2],
    /// The command's ends of the pipes.
    target_ends: [Fd; 3],
    buffer: &'static mut [u8; PIECE],
    input: &'static mut [u8; PIECE],
    pending: Option<PendingInput>,
    close_when_fed: bool,
}

impl FramedStreams {
    /// Takes the static buffers.
    pub(crate) fn new() -> Result<Self> {
        match (OUTPUT.take(), INPUT.take()) {
            (Some(buffer), Some(input)) => Ok(Self {
                stdin: NONE,
                outputs: [NONE; 2],
                target_ends: [NONE; 3],
                buffer,
                input,
                pending: None,
                close_when_fed: false,
            }),
            _ => Err(Errno::BUSY),
        }
    }

    /// Releases the static memory for the next guest.
    ///
    /// # Safety
    ///
    /// As for [`StaticCell::give_back`].
    pub(crate) unsafe fn give_back() {
        // SAFETY: the caller's promise.
        unsafe { OUTPUT.give_back() };
        // SAFETY: the caller's promise.
        unsafe { INPUT.give_back() };
    }

    /// Creates the pipes of a command and returns its ends.
    pub(crate) fn open(&mut self) -> Result<[Fd; 3]> {
        self.close();
        let (stdin, feed) = sys::pipe()?;
        self.stdin = feed;
        self.target_ends = [stdin, NONE, NONE];
        let [_, stdout_end, stderr_end] = &mut self.target_ends;
        for (output, end) in self.outputs.iter_mut().zip([stdout_end, stderr_end]) {
            (*output, *end) = sys::pipe()?;
        }
        for fd in [self.stdin, self.outputs[0], self.outputs[1]] {
            sys::make_nonblocking(fd)?;
        }
        Ok(self.target_ends)
    }

    /// Closes the command's ends, after the command has inherited them.
    pub(crate) fn close_target_ends(&mut self) {
        for end in &mut self.target_ends {
            close(end);
        }
    }

    /// Closes all pipes and discards pending input.
    pub(crate) fn close(&mut self) {
        self.close_target_ends();
        close(&mut self.stdin);
        self.outputs.iter_mut().for_each(close);
        self.pending = None;
        self.close_when_fed = false;
    }

    pub(crate) fn poll_stdin(&self) -> PollFd {
        let fd = if self.pending.is_some() { self.stdin } else { NONE };
        PollFd { fd, events: POLLOUT, found: 0 }
    }

    pub(crate) fn poll_output(&self, index: usize) -> PollFd {
        PollFd { fd: self.outputs.get(index).copied().unwrap_or(NONE), events: POLLIN, found: 0 }
    }

    /// Transfers the bytes that poll(2) reported as available.
    pub(crate) fn transfer(
        &mut self,
        channel: HostChannel,
        stdin: PollFd,
        outputs: [PollFd; 2],
    ) -> Result<()> {
        if stdin.found & (POLLOUT | POLLERR) != 0 {
            self.push(channel)?;
        }
        for (index, output) in outputs.into_iter().enumerate() {
            if output.found & (POLLIN | POLLHUP) != 0 {
                self.pull(channel, index)?;
            }
        }
        Ok(())
    }

    /// Accepts input for the command. The guest answers when the command's pipe has accepted all of
    /// it, and the host sends more only then. So a command that does not read delays nothing else.
    pub(crate) fn feed(&mut self, channel: HostChannel, id: u32, bytes: &[u8]) -> Result<()> {
        if self.pending.is_some() {
            return Err(Errno::BUSY);
        }
        if self.stdin == NONE {
            return Err(Errno::PIPE);
        }
        self.input.get_mut(..bytes.len()).ok_or(Errno::INVAL)?.copy_from_slice(bytes);
        self.pending = Some(PendingInput { id, from: 0, to: bytes.len() });
        self.push(channel)
    }

    /// Closes the command's standard input after the pending input.
    pub(crate) fn close_stdin(&mut self) {
        if self.pending.is_some() {
            self.close_when_fed = true;
        } else {
            close(&mut self.stdin);
        }
    }

    /// Writes pending input until the pipe is full.
    fn push(&mut self, channel: HostChannel) -> Result<()> {
        let Some(PendingInput { id, mut from, to }) = self.pending.take() else { return Ok(()) };
        while from < to {
            let bytes = self.input.get(from..to).unwrap_or_default();
            match retry(|| sys::write(self.stdin, bytes)) {
                Ok(count) => from += count,
                Err(Errno::AGAIN) => {
                    self.pending = Some(PendingInput { id, from, to });
                    return Ok(());
                }
                Err(error) => {
                    close(&mut self.stdin);
                    return channel.fail(id, Step::STREAMS, error);
                }
            }
        }
        if self.close_when_fed {
            close(&mut self.stdin);
        }
        channel.send(FrameKind::Done, id, &[], &[], None)
    }

    /// Reads one piece of output and sends it. Returns `false` at its end, or if none is available.
    fn pull(&mut self, channel: HostChannel, index: usize) -> Result<bool> {
        let (Some(output), kind) = (
            self.outputs.get_mut(index),
            if index == 0 { FrameKind::Stdout } else { FrameKind::Stderr },
        ) else {
            return Ok(false);
        };
        if *output == NONE {
            return Ok(false);
        }
        match retry(|| sys::read(*output, self.buffer.as_mut_slice())) {
            Ok(0) => {
                close(output);
                Ok(false)
            }
            Ok(count) => {
                let bytes = self.buffer.get(..count).unwrap_or_default();
                channel.send(kind, 0, &[], bytes, None).map(|()| true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends the remaining output of a command that has ended, and closes its pipes.
    pub(crate) fn drain(&mut self, channel: HostChannel) -> Result<()> {
        for index in 0..self.outputs.len() {
            while self.pull(channel, index)? {}
        }
        self.close();
        Ok(())
    }
}

fn close(fd: &mut Fd) {
    if *fd != NONE {
        sys::close(*fd);
        *fd = NONE;
    }
}
