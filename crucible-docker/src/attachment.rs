//! The channel to the guest of a container: the streams that the daemon attaches.

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

use crate::outputs::Outputs;

/// How much is kept of what comes on the standard error of a container: the runtime's last words, as a rule.
const NOISE_MAX: usize = 4096;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// The channel to one guest.
pub(crate) struct Attachment {
    input: Mutex<Input>,
    reader: Mutex<Reader>,
    router: ResponseRouter,
    /// Those of the command that runs.
    outputs: SyncMutex<Option<Arc<Outputs>>>,
    noise: SyncMutex<VecDeque<u8>>,
}

struct Input {
    sink: Pin<Box<dyn AsyncWrite + Send>>,
    /// What is still to be written of frames: whoever sends next begins with it, so that one who was dropped leaves no half of a frame.
    rest: BytesMut,
}

struct Reader {
    output: Output,
    frames: FrameDecoder,
    /// What has come and is not cut into frames yet.
    rest: Bytes,
    /// A piece of output that is still to be passed on: until then nothing more is read.
    held: Option<(Arc<Outputs>, OutputChunk)>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("router", &self.router).finish_non_exhaustive()
    }
}

impl Attachment {
    pub(crate) fn new(attached: AttachContainerResults) -> Self {
        let AttachContainerResults { output, input } = attached;
        Self {
            input: Mutex::new(Input { sink: input, rest: BytesMut::new() }),
            reader: Mutex::new(Reader {
                output,
                frames: FrameDecoder::new(),
                rest: Bytes::new(),
                held: None,
            }),
            router: ResponseRouter::new(),
            outputs: SyncMutex::new(None),
            noise: SyncMutex::new(VecDeque::new()),
        }
    }

    /// From now on output is that of another command, or of none.
    pub(crate) async fn set_outputs(&self, outputs: Option<Arc<Outputs>>) {
        // A piece of the one before is nobody's any more.
        self.reader.lock().await.held = None;
        *self.outputs.lock().unwrap_or_else(PoisonError::into_inner) = outputs;
    }

    /// Passes on the piece that waits, if one does.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn pass_on_held(&self) {
        self.reader.lock().await.pass_on().await;
    }

    fn outputs(&self) -> Option<Arc<Outputs>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came on the container's standard error, last: nothing that the program has written.
    pub(crate) fn noise(&self) -> String {
        let noise = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = noise.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    fn note_noise(&self, bytes: &[u8]) {
        let mut noise = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        noise.extend(bytes);
        let too_many = noise.len().saturating_sub(NOISE_MAX);
        noise.drain(..too_many);
    }

    /// Takes note of a frame that answers nobody; what is to be passed on of it.
    fn note(&self, frame: Frame) -> Option<(Arc<Outputs>, OutputChunk)> {
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
                self.router.record_protocol_error("it says what nobody asked for");
                return None;
            }
        };
        match self.outputs() {
            Some(outputs) => outputs.take(stream, frame.payload).map(|chunk| (outputs, chunk)),
            None => {
                self.router.record_protocol_error("it passes on what no command has written");
                None
            }
        }
    }
}

impl Input {
    /// # Cancel safety
    /// What is not written yet is written before what is sent next.
    async fn write(&mut self, parts: [&[u8]; 3]) -> std::io::Result<()> {
        parts.iter().for_each(|part| self.rest.extend_from_slice(part));
        while !self.rest.is_empty() {
            let count = self.sink.write(&self.rest).await?;
            if count == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.rest.advance(count);
        }
        self.sink.flush().await
    }
}

impl Reader {
    /// Passes on what is held, when there is room for it.
    async fn pass_on(&mut self) {
        if let Some((outputs, _)) = &self.held {
            let outputs = Arc::clone(outputs);
            let room = outputs.room().await;
            if let (Some(room), Some((_, chunk))) = (room, self.held.take()) {
                let _sender = room.send(chunk);
            }
        }
    }

    /// Moves what has come to where it is cut into frames, as far as there is room.
    fn fill(&mut self) {
        let room = self.frames.spare_mut();
        let count = room.len().min(self.rest.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), self.rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.frames.advance(count);
        self.rest.advance(count);
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
        let sent = self.input.lock().await.write([&header, head, body]).await;
        match sent {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "nothing can be sent to a guest any more");
                Err(self.disconnect_reason().await)
            }
        }
    }

    async fn read_frame(&self) {
        let mut reader = self.reader.lock().await;
        loop {
            reader.pass_on().await;
            if self.router.is_disconnected() {
                return;
            }
            match reader.frames.next_frame() {
                Ok(Some(frame)) if frame.id != 0 => {
                    self.router.deliver(frame);
                    return;
                }
                Ok(Some(frame)) => {
                    reader.held = self.note(frame);
                    return;
                }
                Ok(None) => {}
                Err(_) => {
                    self.router.record_protocol_error("what it says is not a frame");
                    return;
                }
            }
            if !reader.rest.is_empty() {
                reader.fill();
                continue;
            }
            match reader.output.next().await {
                Some(Ok(LogOutput::StdOut { message })) => reader.rest = message,
                Some(Ok(LogOutput::StdErr { message })) => self.note_noise(&message),
                // What is no frame of the daemon's own comes from nobody whom we know.
                Some(Ok(LogOutput::Console { .. } | LogOutput::StdIn { .. })) => {
                    self.router.record_protocol_error("the daemon's stream is none");
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
