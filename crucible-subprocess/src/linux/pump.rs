//! A command's standard streams: what it writes is captured, counted and passed on; what it reads is fed to it.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::Bytes;
use crucible_core::{Capture, Captured, OutputChunk, OutputSink, OutputStream, Stdin};
use crucible_guest_client::OutputMeter;
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
    pub(super) outputs: [OwnedFd; 2],
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
            outputs: [readable(stdout)?, readable(stderr)?],
        })
    }
}

/// The reading end of a pipe of ours, which does not block.
pub(super) fn readable(end: OwnedFd) -> io::Result<OwnedFd> {
    rustix::fs::fcntl_setfl(&end, OFlags::NONBLOCK)?;
    Ok(end)
}

/// What both of a command's output streams have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow<'a> {
    pub(super) meter: &'a OutputMeter,
    /// Once cancelled, nothing is passed on any more: who listens has been given time enough.
    pub(super) deaf: &'a CancellationToken,
    /// It was heard that the command runs; before that nobody looks for output. Whoever sets it polls the pumps.
    pub(super) started: &'a AtomicBool,
    /// Nobody writes any more, though the streams may not have their end yet: what is there is all there is.
    pub(super) complete: &'a AtomicBool,
}

/// Our end of a stream.
enum Source {
    /// The runtime has not been told of it.
    Unwatched(OwnedFd),
    Watched(pipe::Receiver),
    /// The runtime cannot watch it.
    Lost,
}

impl Source {
    /// Has the runtime watch it, which need not look at what it is: a pipe of ours.
    fn watched(&mut self) -> io::Result<&mut pipe::Receiver> {
        if let Self::Unwatched(_) = self
            && let Self::Unwatched(end) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Watched(pipe::Receiver::from_owned_fd_unchecked(end)?);
        }
        match self {
            Self::Watched(receiver) => Ok(receiver),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads, whether or not the runtime has noticed that there is something.
    fn read_directly(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = match self {
            Self::Unwatched(end) => end.as_fd(),
            Self::Watched(receiver) => receiver.as_fd(),
            Self::Lost => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(end, &mut *buffer))?)
    }
}

/// Reads one output stream to its end.
pub(super) struct Pump<'a> {
    stream: OutputStream,
    source: Source,
    capture: Capture,
    sink: OutputSink,
    flow: Flow<'a>,
    buffer: Vec<u8>,
    /// All there is has been read.
    is_done: bool,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        stream: OutputStream,
        end: OwnedFd,
        budget: usize,
        sink: OutputSink,
        flow: Flow<'a>,
    ) -> Self {
        let (source, capture) = (Source::Unwatched(end), Capture::new(budget));
        Self { stream, source, capture, sink, flow, buffer: Vec::new(), is_done: false }
    }

    /// Reads until every writer has gone, or it is known that none writes any more, or there is more than the limit: who goes on
    /// writing then has to wait, and is ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses no byte from the capture.
    pub(super) async fn run(&mut self) {
        let Flow { started, .. } = self.flow;
        poll_fn(|_| if started.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        while !self.flow.meter.is_exceeded() {
            match self.read_some().await {
                Ok(Some(0)) => {
                    self.is_done = true;
                    return;
                }
                Ok(None) if self.is_complete() => {
                    self.is_done = true;
                    return;
                }
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
        while !self.is_done
            && rest < PIPE_MAX
            && let Ok(count @ 1..) = self.read_directly()
        {
            self.count(count);
            rest += count;
        }
    }

    /// Reads once, as soon as there is something or all is there; `None` if nothing was there after all.
    async fn read_some(&mut self) -> io::Result<Option<usize>> {
        let read = if self.is_complete() {
            self.read_directly()
        } else {
            let complete = self.flow.complete;
            let receiver = self.source.watched()?;
            let ready = poll_fn(|context| {
                if complete.load(Ordering::Relaxed) {
                    Poll::Ready(Ok(()))
                } else {
                    receiver.poll_read_ready(context)
                }
            });
            ready.await?;
            if self.is_complete() { self.read_directly() } else { self.read_what_was_noticed() }
        };
        match read {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_complete(&self) -> bool {
        self.flow.complete.load(Ordering::Relaxed)
    }

    fn read_directly(&mut self) -> io::Result<usize> {
        self.make_room();
        self.source.read_directly(&mut self.buffer)
    }

    fn read_what_was_noticed(&mut self) -> io::Result<usize> {
        self.make_room();
        let buffer = &mut self.buffer;
        self.source.watched()?.try_read(buffer)
    }

    /// Most commands write little: the buffer grows with the first full read.
    fn make_room(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; 4096];
        }
    }

    fn count(&mut self, count: usize) {
        let bytes = self.buffer.get(..count).unwrap_or_default();
        self.capture.push(bytes);
        self.flow.meter.add(count);
        if count == self.buffer.len() && self.buffer.len() < PIECE {
            self.buffer.resize(PIECE, 0);
        }
    }

    async fn take(&mut self, count: usize) {
        if !self.sink.is_none() && !self.flow.deaf.is_cancelled() {
            let offset = self.capture.total_bytes();
            let bytes = Bytes::copy_from_slice(self.buffer.get(..count).unwrap_or_default());
            self.count(count);
            tokio::select! {
                () = self.sink.send(OutputChunk::new(self.stream, offset, bytes)) => {}
                () = self.flow.deaf.cancelled() => {}
            }
        } else {
            self.count(count);
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
