//! The output of one command, as it arrives in frames.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crucible_core::{Capture, Captured, OutputChunk, OutputSink, OutputStream};
use crucible_guest_client::OutputMeter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The capacity, in chunks, of the queue to the receiver of live output. While the queue is full,
/// the engine reads no output, so the program blocks.
const CHUNKS_MAX: usize = 16;

/// The output of one command. It is captured, counted, and forwarded to the receiver of live
/// output.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) meter: OutputMeter,
    captures: Mutex<[Capture; 2]>,
    /// The queue to the receiver of live output. `None` without a receiver, and after the last
    /// chunk.
    chunks: Mutex<Option<mpsc::Sender<OutputChunk>>>,
    /// Cancelled when the receiver has exceeded its grace period. No output is forwarded after the
    /// cancellation.
    pub(crate) detached: CancellationToken,
}

impl CommandOutput {
    /// Creates the output of a command, and the queue of chunks to forward.
    pub(crate) fn new(
        budget: usize,
        limit: u64,
        sink: &OutputSink,
    ) -> (Self, Option<mpsc::Receiver<OutputChunk>>) {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let has_receiver = !sink.is_none();
        let output = Self {
            meter: OutputMeter::new(limit),
            captures: Mutex::new([Capture::new(budget), Capture::new(budget)]),
            chunks: Mutex::new(has_receiver.then_some(sender)),
            detached: CancellationToken::new(),
        };
        (output, has_receiver.then_some(receiver))
    }

    fn captures(&self) -> MutexGuard<'_, [Capture; 2]> {
        // A capture is consistent between its calls.
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Captures and counts bytes of a stream. Returns the chunk to forward, if there is a receiver.
    pub(crate) fn take(&self, stream: OutputStream, bytes: Bytes) -> Option<OutputChunk> {
        if self.meter.is_exceeded() {
            // The bytes were in transit when the limit was exceeded. The program is being killed.
            return None;
        }
        self.meter.add(bytes.len());
        let mut captures = self.captures();
        let [stdout, stderr] = &mut *captures;
        let capture = if stream == OutputStream::Stdout { stdout } else { stderr };
        let offset = capture.total_bytes();
        capture.push(&bytes);
        drop(captures);
        let is_live = self.chunks().is_some() && !self.detached.is_cancelled();
        is_live.then(|| OutputChunk::new(stream, offset, bytes))
    }

    /// Reserves a place in the queue for one chunk. Returns `None` without a receiver.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn reserve(&self) -> Option<mpsc::OwnedPermit<OutputChunk>> {
        let chunks = self.chunks()?;
        tokio::select! {
            biased;
            () = self.detached.cancelled() => None,
            permit = chunks.reserve_owned() => permit.ok(),
        }
    }

    fn chunks(&self) -> Option<mpsc::Sender<OutputChunk>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the queue after the last chunk.
    pub(crate) fn close(&self) {
        *self.chunks.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the capture of both streams so far.
    pub(crate) fn finish(&self) -> (Captured, Captured) {
        let [stdout, stderr] =
            std::mem::replace(&mut *self.captures(), [Capture::new(0), Capture::new(0)]);
        (stdout.finish(), stderr.finish())
    }
}

/// Forwards chunks to the receiver of live output until the queue is closed.
pub(crate) async fn forward(chunks: Option<mpsc::Receiver<OutputChunk>>, sink: OutputSink) {
    if let Some(mut chunks) = chunks {
        while let Some(chunk) = chunks.recv().await {
            sink.send(chunk).await;
        }
    }
}
