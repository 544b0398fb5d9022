//! A command's standard streams as frames, for hosts that cannot pass pipes.

use super::control::Control;
use super::errno::{Errno, Result, retry};
use super::memory::Once;
use super::sys::{self, Fd, POLLERR, POLLHUP, POLLIN, POLLOUT, PollFd};
use crate::protocol::{FrameKind, Step};

/// How much is read or fed at once: what a pipe holds.
const PIECE: usize = 64 * 1024;

static OUTPUT: Once<[u8; PIECE]> = Once::new([0; PIECE]);
static INPUT: Once<[u8; PIECE]> = Once::new([0; PIECE]);

/// No descriptor: poll(2) skips it.
const NONE: Fd = Fd(-1);

/// Input on its way to the command.
struct Pending {
    id: u32,
    from: usize,
    to: usize,
}

pub(crate) struct Streams {
    stdin: Fd,
    /// Standard output, standard error.
    outputs: [Fd; 2],
    /// The command's own ends.
    target_ends: [Fd; 3],
    buffer: &'static mut [u8; PIECE],
    input: &'static mut [u8; PIECE],
    pending: Option<Pending>,
    close_when_fed: bool,
}

impl Streams {
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

    /// What was taken may be taken again.
    ///
    /// # Safety
    /// As for [`Once::give_back`].
    pub(crate) unsafe fn give_back() {
        // SAFETY: the caller's promise.
        unsafe { OUTPUT.give_back() };
        // SAFETY: likewise.
        unsafe { INPUT.give_back() };
    }

    /// Makes the pipes of a command. Gives its ends.
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

    /// Closes the command's own ends, once it has them.
    pub(crate) fn close_target_ends(&mut self) {
        for end in &mut self.target_ends {
            close(end);
        }
    }

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

    /// Moves what poll(2) found.
    pub(crate) fn pump(
        &mut self,
        control: Control,
        stdin: PollFd,
        outputs: [PollFd; 2],
    ) -> Result<()> {
        if stdin.found & (POLLOUT | POLLERR) != 0 {
            self.push(control)?;
        }
        for (index, output) in outputs.into_iter().enumerate() {
            if output.found & (POLLIN | POLLHUP) != 0 {
                self.pull(control, index)?;
            }
        }
        Ok(())
    }

    /// Takes input for the command. It is answered when the command's pipe has it; the host sends the next only then,
    /// so that a command that does not read holds up nothing else.
    pub(crate) fn feed(&mut self, control: Control, id: u32, bytes: &[u8]) -> Result<()> {
        if self.pending.is_some() {
            return Err(Errno::BUSY);
        }
        if self.stdin == NONE {
            return Err(Errno::PIPE);
        }
        self.input.get_mut(..bytes.len()).ok_or(Errno::INVAL)?.copy_from_slice(bytes);
        self.pending = Some(Pending { id, from: 0, to: bytes.len() });
        self.push(control)
    }

    pub(crate) fn close_stdin(&mut self) {
        if self.pending.is_some() {
            self.close_when_fed = true;
        } else {
            close(&mut self.stdin);
        }
    }

    fn push(&mut self, control: Control) -> Result<()> {
        let Some(Pending { id, mut from, to }) = self.pending.take() else { return Ok(()) };
        while from < to {
            let bytes = self.input.get(from..to).unwrap_or_default();
            match retry(|| sys::write(self.stdin, bytes)) {
                Ok(count) => from += count,
                Err(Errno::AGAIN) => {
                    self.pending = Some(Pending { id, from, to });
                    return Ok(());
                }
                Err(error) => {
                    close(&mut self.stdin);
                    return control.fail(id, Step::STREAMS, error);
                }
            }
        }
        if self.close_when_fed {
            close(&mut self.stdin);
        }
        control.send(FrameKind::Done, id, &[], &[], None)
    }

    /// Reads one piece of output and sends it; `false` at its end, or if nothing is there.
    fn pull(&mut self, control: Control, index: usize) -> Result<bool> {
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
                control.send(kind, 0, &[], bytes, None).map(|()| true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends what is left of a command that has ended, and forgets it.
    pub(crate) fn drain(&mut self, control: Control) -> Result<()> {
        for index in 0..self.outputs.len() {
            while self.pull(control, index)? {}
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
