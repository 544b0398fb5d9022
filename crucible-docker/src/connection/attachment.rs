//! The channel to the guest of a container, over the streams that the daemon attaches.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use bollard::container::{AttachContainerResults, LogOutput};
use bytes::{Buf as _, Bytes, BytesMut};
use crucible_core::{OutputChunk, OutputStream};
use crucible_guest::protocol::{FrameKind, HEADER_SIZE, Header, WireWriter};
use crucible_guest_client::errors::protocol;
use crucible_guest_client::{
    Channel, ChannelExt as _, Disconnected, Frame, FrameDecoder, ResponseRouter,
};
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::command_output::CommandOutput;

/// The number of bytes of a container's standard error that are kept. Usually it contains the
/// runtime's last error.
const STDERR_MAX: usize = 4096;

type DaemonStream = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// The channel to one guest.
pub(crate) struct Attachment {
    writer: Mutex<FrameWriter>,
    reader: Mutex<FrameReader>,
    router: ResponseRouter,
    /// The output of the running command.
    output: SyncMutex<Option<Arc<CommandOutput>>>,
    /// The last bytes of the container's standard error.
    stderr: SyncMutex<VecDeque<u8>>,
}

struct FrameWriter {
    sink: Pin<Box<dyn AsyncWrite + Send>>,
    /// Bytes of frames that are not written yet. The next write begins with them, so a dropped
    /// future leaves no partial frame.
    unwritten: BytesMut,
}

struct FrameReader {
    stream: DaemonStream,
    frames: FrameDecoder,
    /// Received bytes that are not in the decoder yet.
    undecoded: Bytes,
    /// A chunk of output that is not forwarded yet. Until it is, the reader reads no further frame.
    held: Option<HeldChunk>,
}

/// A chunk of output, with the command that wrote it.
type HeldChunk = (Arc<CommandOutput>, OutputChunk);

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("router", &self.router).finish_non_exhaustive()
    }
}

impl Attachment {
    /// Creates the channel over the attached streams.
    pub(crate) fn new(attached: AttachContainerResults) -> Self {
        let AttachContainerResults { output, input } = attached;
        Self {
            writer: Mutex::new(FrameWriter { sink: input, unwritten: BytesMut::new() }),
            reader: Mutex::new(FrameReader {
                stream: output,
                frames: FrameDecoder::new(),
                undecoded: Bytes::new(),
                held: None,
            }),
            router: ResponseRouter::new(),
            output: SyncMutex::new(None),
            stderr: SyncMutex::new(VecDeque::new()),
        }
    }

    /// Assigns the output that follows to a command, or to none.
    pub(crate) async fn set_output(&self, output: Option<Arc<CommandOutput>>) {
        // A chunk of the previous command is discarded.
        self.reader.lock().await.held = None;
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = output;
    }

    /// Forwards the held chunk, if there is one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn forward_held(&self) {
        self.reader.lock().await.forward_held().await;
    }

    fn output(&self) -> Option<Arc<CommandOutput>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the end of the container's standard error. The program's output is not in it.
    pub(crate) fn stderr(&self) -> String {
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = stderr.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    fn append_stderr(&self, bytes: &[u8]) {
        let mut stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        stderr.extend(bytes);
        let excess = stderr.len().saturating_sub(STDERR_MAX);
        stderr.drain(..excess);
    }

    /// Handles a frame without a request. Returns the chunk to forward, if it contains output.
    fn handle(&self, frame: Frame) -> Option<HeldChunk> {
        let stream = match frame.kind {
            FrameKind::Stdout => OutputStream::Stdout,
            FrameKind::Stderr => OutputStream::Stderr,
            FrameKind::Ready => {
                self.router.record_greeting(&frame.payload);
                return None;
            }
            FrameKind::Failed => {
                self.router.record_setup_failure(&frame.payload);
                return None;
            }
            _ => {
                self.router.record_protocol_error("it sends an unexpected message");
                return None;
            }
        };
        match self.output() {
            Some(output) => output.take(stream, frame.payload).map(|chunk| (output, chunk)),
            None => {
                self.router.record_protocol_error("it sends output without a command");
                None
            }
        }
    }
}

impl FrameWriter {
    /// Writes a frame.
    ///
    /// # Cancel safety
    /// After dropping the future, the next write begins with the unwritten bytes.
    async fn write(&mut self, parts: [&[u8]; 3]) -> std::io::Result<()> {
        parts.iter().for_each(|part| self.unwritten.extend_from_slice(part));
        while !self.unwritten.is_empty() {
            let count = self.sink.write(&self.unwritten).await?;
            if count == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.unwritten.advance(count);
        }
        self.sink.flush().await
    }
}

impl FrameReader {
    /// Waits until the receiver of live output has room, and forwards the held chunk.
    async fn forward_held(&mut self) {
        if let Some((output, _)) = &self.held {
            let output = Arc::clone(output);
            let permit = output.reserve().await;
            if let (Some(permit), Some((_, chunk))) = (permit, self.held.take()) {
                let _sender = permit.send(chunk);
            }
        }
    }

    /// Moves received bytes to the decoder, as far as its buffer has room.
    fn fill_decoder(&mut self) {
        let spare = self.frames.spare_mut();
        let count = spare.len().min(self.undecoded.len());
        if let (Some(to), Some(from)) = (spare.get_mut(..count), self.undecoded.get(..count)) {
            to.copy_from_slice(from);
        }
        self.frames.advance(count);
        self.undecoded.advance(count);
    }
}

impl Channel for Attachment {
    fn router(&self) -> &ResponseRouter {
        &self.router
    }

    async fn send(
        &self,
        kind: FrameKind,
        id: u32,
        head: &[u8],
        body: &[u8],
    ) -> Result<(), Disconnected> {
        let length = u32::try_from(head.len() + body.len())
            .map_err(|_| Disconnected::Error(protocol("a request is too long", false)))?;
        let mut header = [0; HEADER_SIZE];
        let encoded = Header { kind, id, length }.encode(&mut WireWriter::new(&mut header));
        encoded.map_err(|_| Disconnected::Error(protocol("a header does not fit", false)))?;
        let sent = self.writer.lock().await.write([&header, head, body]).await;
        match sent {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a guest's channel does not accept requests");
                Err(self.disconnect_reason().await)
            }
        }
    }

    async fn read_frame(&self) {
        let mut reader = self.reader.lock().await;
        loop {
            reader.forward_held().await;
            if self.router.is_disconnected() {
                return;
            }
            match reader.frames.next_frame() {
                Ok(Some(frame)) if frame.id != 0 => {
                    self.router.deliver(frame);
                    return;
                }
                Ok(Some(frame)) => {
                    reader.held = self.handle(frame);
                    return;
                }
                Ok(None) => {}
                Err(_) => {
                    self.router.record_protocol_error("its bytes are not a frame");
                    return;
                }
            }
            if !reader.undecoded.is_empty() {
                reader.fill_decoder();
                continue;
            }
            match reader.stream.next().await {
                Some(Ok(LogOutput::StdOut { message })) => reader.undecoded = message,
                Some(Ok(LogOutput::StdErr { message })) => self.append_stderr(&message),
                // The daemon sends these only for a terminal, which no container has.
                Some(Ok(LogOutput::Console { .. } | LogOutput::StdIn { .. })) => {
                    self.router.record_protocol_error("the daemon's stream has an unexpected type");
                    return;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a container's stream broke");
                    self.router.record_end();
                    return;
                }
                None => {
                    self.router.record_end();
                    return;
                }
            }
        }
    }
}
