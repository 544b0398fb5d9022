//! The standard streams of a command: captured and forwarded output, and input.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::Bytes;
use crucible_core::{Capture, Captured, OutputChunk, OutputSink, OutputStream, Stdin};
use crucible_guest_client::OutputMeter;
use rustix::pipe::PipeFlags;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use crate::linux::sys;

/// The first buffer of a stream. Most commands write little.
const BUFFER_MIN: usize = 4096;
/// The largest buffer of a stream: the capacity of a pipe.
const BUFFER_MAX: usize = 64 * 1024;
/// The largest capacity of a pipe, unless the host's root raised it (`fs.pipe-max-size`, pipe(7)).
const PIPE_MAX: usize = 1024 * 1024;

/// Both ends of a command's streams.
#[derive(Debug)]
pub(super) struct StdioPipes {
    /// The command's ends: standard input, output, error.
    pub(super) theirs: [OwnedFd; 3],
    pub(super) stdin: OwnedFd,
    pub(super) outputs: [OwnedFd; 2],
}

impl StdioPipes {
    /// Creates three pipes. The host's ends of the outputs are non-blocking.
    pub(super) fn new() -> io::Result<Self> {
        let create = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let (stdin_theirs, stdin) = create()?;
        let (stdout, stdout_theirs) = create()?;
        let (stderr, stderr_theirs) = create()?;
        Ok(Self {
            theirs: [stdin_theirs, stdout_theirs, stderr_theirs],
            stdin,
            outputs: [sys::set_nonblocking(stdout)?, sys::set_nonblocking(stderr)?],
        })
    }
}

/// The state that both output streams of a command share.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputState<'a> {
    pub(super) meter: &'a OutputMeter,
    /// Once cancelled, no output is forwarded: its receiver has had enough time.
    pub(super) forwarding_ended: &'a CancellationToken,
    /// Set when the guest reports that the command runs. Readers wait for it. The task that sets it
    /// also polls the readers.
    pub(super) started: &'a AtomicBool,
    /// Set when no process writes any more, although the pipes may not be at their end yet.
    pub(super) complete: &'a AtomicBool,
}

/// The host's end of an output stream.
#[derive(Debug)]
enum OutputEnd {
    /// Not registered with the runtime.
    Unregistered(OwnedFd),
    Registered(pipe::Receiver),
    /// The registration failed.
    Lost,
}

impl OutputEnd {
    /// Registers the pipe with the runtime, without a check that it is a pipe.
    fn registered(&mut self) -> io::Result<&mut pipe::Receiver> {
        if let Self::Unregistered(_) = self
            && let Self::Unregistered(end) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Registered(pipe::Receiver::from_owned_fd_unchecked(end)?);
        }
        match self {
            Self::Registered(receiver) => Ok(receiver),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads without asking the runtime.
    fn read_directly(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = match self {
            Self::Unregistered(end) => end.as_fd(),
            Self::Registered(receiver) => receiver.as_fd(),
            Self::Lost => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(end, &mut *buffer))?)
    }
}

/// Reads one output stream to its end.
#[derive(Debug)]
pub(super) struct OutputReader<'a> {
    stream: OutputStream,
    end: OutputEnd,
    capture: Capture,
    sink: OutputSink,
    state: OutputState<'a>,
    buffer: Vec<u8>,
    /// The whole stream has been read.
    is_done: bool,
}

impl<'a> OutputReader<'a> {
    /// Creates a reader that captures up to `budget` bytes and forwards all to `sink`.
    pub(super) fn new(
        stream: OutputStream,
        end: OwnedFd,
        budget: usize,
        sink: OutputSink,
        state: OutputState<'a>,
    ) -> Self {
        let (end, capture) = (OutputEnd::Unregistered(end), Capture::new(budget));
        Self { stream, end, capture, sink, state, buffer: Vec::new(), is_done: false }
    }

    /// Reads until every writer has closed the stream, no process writes any more, or the output
    /// limit is exceeded. Beyond the limit, writers block and are killed.
    ///
    /// # Cancel safety
    /// Dropping the future loses no byte of the capture.
    pub(super) async fn run(&mut self) {
        let OutputState { started, .. } = self.state;
        poll_fn(|_| if started.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        while !self.state.meter.is_exceeded() {
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
                    self.accept(count).await;
                    // A command can keep the pipe readable for ever. The supervisor of its limits
                    // runs on the same thread.
                    tokio::task::yield_now().await;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(stream = %self.stream, %error, "cannot read a command's output");
                    return;
                }
            }
        }
    }

    /// Reads the bytes in the pipe without waiting, up to the capacity of a pipe.
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

    /// Reads once the stream is readable or complete. Returns `None` if it was empty.
    async fn read_some(&mut self) -> io::Result<Option<usize>> {
        let read = if self.is_complete() {
            self.read_directly()
        } else {
            let complete = self.state.complete;
            let receiver = self.end.registered()?;
            let ready = poll_fn(|context| {
                if complete.load(Ordering::Relaxed) {
                    Poll::Ready(Ok(()))
                } else {
                    receiver.poll_read_ready(context)
                }
            });
            ready.await?;
            if self.is_complete() { self.read_directly() } else { self.read_registered() }
        };
        match read {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_complete(&self) -> bool {
        self.state.complete.load(Ordering::Relaxed)
    }

    fn read_directly(&mut self) -> io::Result<usize> {
        self.allocate();
        self.end.read_directly(&mut self.buffer)
    }

    fn read_registered(&mut self) -> io::Result<usize> {
        self.allocate();
        let buffer = &mut self.buffer;
        self.end.registered()?.try_read(buffer)
    }

    /// Allocates the buffer. It grows with the first full read.
    fn allocate(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_MIN];
        }
    }

    fn count(&mut self, count: usize) {
        let bytes = self.buffer.get(..count).unwrap_or_default();
        self.capture.push(bytes);
        self.state.meter.add(count);
        if count == self.buffer.len() && self.buffer.len() < BUFFER_MAX {
            self.buffer.resize(BUFFER_MAX, 0);
        }
    }

    async fn accept(&mut self, count: usize) {
        let OutputState { forwarding_ended, .. } = self.state;
        if self.sink.is_none() || forwarding_ended.is_cancelled() {
            self.count(count);
            return;
        }
        let offset = self.capture.total_bytes();
        let bytes = Bytes::copy_from_slice(self.buffer.get(..count).unwrap_or_default());
        self.count(count);
        tokio::select! {
            () = self.sink.send(OutputChunk::new(self.stream, offset, bytes)) => {}
            () = forwarding_ended.cancelled() => {}
        }
    }

    /// Returns the captured output.
    pub(super) fn finish(self) -> Captured {
        self.capture.finish()
    }
}

/// Writes a command's standard input. A command that does not read it is not an error.
pub(super) async fn feed_stdin(end: OwnedFd, stdin: Stdin) {
    match stdin {
        Stdin::Bytes(bytes) if !bytes.is_empty() => {
            if let Ok(sender) = pipe::Sender::from_owned_fd(end) {
                write_all(&sender, &bytes).await;
            }
        }
        Stdin::Stream(mut chunks) => {
            if let Ok(sender) = pipe::Sender::from_owned_fd(end) {
                while let Some(bytes) = chunks.recv().await {
                    if !write_all(&sender, &bytes).await {
                        return;
                    }
                }
            }
        }
        // Closing the pipe ends the input.
        _ => drop(end),
    }
}

/// Writes all bytes. Returns `false` if every reader has closed the pipe.
async fn write_all(sender: &pipe::Sender, mut bytes: &[u8]) -> bool {
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
