//! What a command writes, as it comes in frames.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crucible_core::{Capture, Captured, OutputChunk, OutputSink, OutputStream};
use crucible_guest_client::OutputMeter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many pieces wait for whoever gets live output. Beyond them nothing more is read, so that the program waits.
const PIECES: usize = 16;

/// The output of one command: captured, counted, and passed on.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) meter: OutputMeter,
    captures: Mutex<[Capture; 2]>,
    /// Towards whoever gets live output; `None` if nobody does, or nothing more comes.
    pieces: Mutex<Option<mpsc::Sender<OutputChunk>>>,
    /// Once cancelled, nothing is passed on any more: who listens has been given time enough.
    pub(crate) deaf: CancellationToken,
}

impl Outputs {
    /// Outputs, and what is to be passed on of them.
    pub(crate) fn new(
        budget: usize,
        limit: u64,
        sink: &OutputSink,
    ) -> (Self, Option<mpsc::Receiver<OutputChunk>>) {
        let (sender, receiver) = mpsc::channel(PIECES);
        let wanted = !sink.is_none();
        let outputs = Self {
            meter: OutputMeter::new(limit),
            captures: Mutex::new([Capture::new(budget), Capture::new(budget)]),
            pieces: Mutex::new(wanted.then_some(sender)),
            deaf: CancellationToken::new(),
        };
        (outputs, wanted.then_some(receiver))
    }

    fn captures(&self) -> MutexGuard<'_, [Capture; 2]> {
        // A capture is consistent between its calls.
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a piece. Gives what is to be passed on.
    pub(crate) fn take(&self, stream: OutputStream, bytes: Bytes) -> Option<OutputChunk> {
        if self.meter.is_exceeded() {
            // What was on its way when the limit was reached: a program that is ended for it writes no more.
            return None;
        }
        self.meter.add(bytes.len());
        let mut captures = self.captures();
        let [stdout, stderr] = &mut *captures;
        let capture = if stream == OutputStream::Stdout { stdout } else { stderr };
        let offset = capture.total_bytes();
        capture.push(&bytes);
        drop(captures);
        let wanted = self.pieces().is_some() && !self.deaf.is_cancelled();
        wanted.then(|| OutputChunk::new(stream, offset, bytes))
    }

    /// Room for one more piece to be passed on; `None` if nobody listens any more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn room(&self) -> Option<mpsc::OwnedPermit<OutputChunk>> {
        let pieces = self.pieces()?;
        tokio::select! {
            biased;
            () = self.deaf.cancelled() => None,
            room = pieces.reserve_owned() => room.ok(),
        }
    }

    fn pieces(&self) -> Option<mpsc::Sender<OutputChunk>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing more comes: whoever gets live output has its end after what waits.
    pub(crate) fn close(&self) {
        *self.pieces.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What was captured of both streams. What comes later is not in it.
    pub(crate) fn finish(&self) -> (Captured, Captured) {
        let [stdout, stderr] =
            std::mem::replace(&mut *self.captures(), [Capture::new(0), Capture::new(0)]);
        (stdout.finish(), stderr.finish())
    }
}

/// Passes pieces on until there are no more.
pub(crate) async fn pass_on(pieces: Option<mpsc::Receiver<OutputChunk>>, sink: OutputSink) {
    if let Some(mut pieces) = pieces {
        while let Some(piece) = pieces.recv().await {
            sink.send(piece).await;
        }
    }
}
