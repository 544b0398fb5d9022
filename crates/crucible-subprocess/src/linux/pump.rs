//! A command's standard streams: what it writes is captured, counted and passed on; what it reads is fed to it.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::Bytes;
use crucible_core::{Capture, Captured, OutputChunk, OutputSink, OutputStream, Stdin};
use crucible_link::Meter;
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

/// How much is read at once: what a pipe holds.
const PIECE: usize = 64 * 1024;
/// The most that a pipe holds, unless the host's root made it more (`fs.pipe-max-size`, pipe(7)).
const PIPE_MAX: usize = 1024 * 1024;

/// Both ends of a command's streams.
pub(super) struct Pipes {
    /// The command's ends: standard input, output, error.
    pub(super) theirs: [OwnedFd; 3],
    pub(super) stdin: OwnedFd,
    pub(super) outputs: [pipe::Receiver; 2],
}

impl Pipes {
    pub(super) fn new() -> io::Result<Self> {
        let make = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let (stdin_theirs, stdin) = make()?;
        let (stdout, stdout_theirs) = make()?;
        let (stderr, stderr_theirs) = make()?;
        Ok(Self {
            theirs: [stdin_theirs, stdout_theirs, stderr_theirs],
            stdin,
            outputs: [receiver(stdout)?, receiver(stderr)?],
        })
    }
}

/// The reading end of a pipe of ours, which need not be looked at to see what it is.
pub(super) fn receiver(end: OwnedFd) -> io::Result<pipe::Receiver> {
    rustix::fs::fcntl_setfl(&end, OFlags::NONBLOCK)?;
    pipe::Receiver::from_owned_fd_unchecked(end)
}

/// Reads one output stream to its end.
pub(super) struct Pump<'a> {
    pub(super) stream: OutputStream,
    pub(super) receiver: pipe::Receiver,
    pub(super) capture: Capture,
    pub(super) meter: &'a Meter,
    pub(super) sink: OutputSink,
    /// Once cancelled, nothing is passed on any more: who listens has been given time enough.
    pub(super) deaf: &'a CancellationToken,
    /// Nobody writes any more, though the stream may not have its end yet: what is there is all there is.
    pub(super) complete: &'a AtomicBool,
    buffer: Vec<u8>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        stream: OutputStream,
        receiver: pipe::Receiver,
        budget: usize,
        meter: &'a Meter,
        sink: OutputSink,
        deaf: &'a CancellationToken,
        complete: &'a AtomicBool,
    ) -> Self {
        let capture = Capture::new(budget);
        Self { stream, receiver, capture, meter, sink, deaf, complete, buffer: Vec::new() }
    }

    /// Reads until every writer has gone, or it is known that none writes any more, or there is more than the limit: who goes on
    /// writing then has to wait, and is ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses no byte from the capture.
    pub(super) async fn run(&mut self) {
        while !self.meter.is_exceeded() {
            let ready = poll_fn(|context| {
                if self.is_complete() { Poll::Ready(Ok(())) } else { self.receiver.poll_read_ready(context) }
            });
            let read = ready.await.and_then(|()| self.read());
            match read {
                Ok(Some(0)) => return,
                Ok(None) if self.is_complete() => return,
                Ok(Some(count)) => {
                    self.take(count).await;
                    // A command that writes as fast as we read keeps the pipe ready for ever, and whoever watches its
                    // limits has the same thread.
                    tokio::task::yield_now().await;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(stream = %self.stream, %error, "a command's output cannot be read");
                    return;
                }
            }
        }
    }

    /// Reads what is there, without waiting for more. What somebody writes meanwhile is read as well, but not for ever.
    pub(super) fn read_rest(&mut self) {
        let mut rest = 0;
        while rest < PIPE_MAX
            && let Ok(count @ 1..) = self.read_once(true)
        {
            self.count(count);
            rest += count;
        }
    }

    /// Reads once; `None` if nothing was there after all.
    fn read(&mut self) -> io::Result<Option<usize>> {
        match self.read_once(self.is_complete()) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// Reads once, `at_last` whether or not it has been noticed that there is something.
    fn read_once(&mut self, at_last: bool) -> io::Result<usize> {
        if self.buffer.is_empty() {
            // Most commands write little: the buffer grows with the first full read.
            self.buffer = vec![0; 4096];
        }
        if at_last {
            return Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.receiver, &mut *self.buffer))?);
        }
        self.receiver.try_read(&mut self.buffer)
    }

    fn count(&mut self, count: usize) {
        let bytes = self.buffer.get(..count).unwrap_or_default();
        self.capture.push(bytes);
        self.meter.add(count);
    }

    async fn take(&mut self, count: usize) {
        let offset = self.capture.total_bytes();
        self.count(count);
        if !self.sink.is_none() && !self.deaf.is_cancelled() {
            let bytes = Bytes::copy_from_slice(self.buffer.get(..count).unwrap_or_default());
            tokio::select! {
                () = self.sink.send(OutputChunk::new(self.stream, offset, bytes)) => {}
                () = self.deaf.cancelled() => {}
            }
        }
        if count == self.buffer.len() && self.buffer.len() < PIECE {
            self.buffer.resize(PIECE, 0);
        }
    }

    pub(super) fn finish(self) -> Captured {
        self.capture.finish()
    }
}

/// Feeds a command's standard input. A command that does not read it, or closes it, is none of our business.
pub(super) async fn feed(end: OwnedFd, stdin: Stdin) {
    match stdin {
        Stdin::Bytes(bytes) if !bytes.is_empty() => {
            if let Ok(sender) = pipe::Sender::from_owned_fd(end) {
                write_all(&sender, &bytes).await;
            }
        }
        Stdin::Stream(mut pieces) => {
            if let Ok(sender) = pipe::Sender::from_owned_fd(end) {
                while let Some(bytes) = pieces.recv().await {
                    if !write_all(&sender, &bytes).await {
                        return;
                    }
                }
            }
        }
        // Dropping the end is the end of the input.
        _ => drop(end),
    }
}

/// Writes everything; `false` if nobody reads any more.
pub(super) async fn write_all(sender: &pipe::Sender, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        if sender.ready(Interest::WRITABLE).await.is_err() {
            return false;
        }
        match sender.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}
