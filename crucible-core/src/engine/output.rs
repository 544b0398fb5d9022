//! Live output.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::result::OutputStream;

/// A piece of a program's output, as the engine read it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputChunk {
    /// The stream.
    pub stream: OutputStream,
    /// The position of the first byte in the stream.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl OutputChunk {
    /// Creates a piece of output.
    #[must_use]
    pub fn new(stream: OutputStream, offset: u64, bytes: Bytes) -> Self {
        Self { stream, offset, bytes }
    }
}

type OutputWatcher = dyn Fn(&OutputChunk) + Send + Sync;

/// The receivers of live output. The default has none.
///
/// There are two kinds, which can be combined:
///
/// - The engine calls a *watcher* with every piece. The watcher must return immediately.
/// - A *channel* receives every piece without loss. While the channel is full, the engine does not
///   read the program's output. The program then waits, and its limits still apply. After the
///   receiver is dropped, the engine discards the pieces.
#[derive(Clone, Default)]
pub struct OutputSink {
    watcher: Option<Arc<OutputWatcher>>,
    channel: Option<mpsc::Sender<OutputChunk>>,
}

impl OutputSink {
    /// Creates a sink that discards output.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls `watcher` with every piece. The watcher must not block, because it runs on the task
    /// that reads the output.
    #[must_use]
    pub fn with_watcher(mut self, watcher: impl Fn(&OutputChunk) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Sends every piece to a bounded channel, and waits while the channel is full.
    #[must_use]
    pub fn with_channel(mut self, channel: mpsc::Sender<OutputChunk>) -> Self {
        self.channel = Some(channel);
        self
    }

    /// Returns `true` if the sink discards output, so that an engine need not create pieces.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.watcher.is_none() && self.channel.is_none()
    }

    /// Passes a piece to the receivers.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the channel may miss the piece.
    pub async fn send(&self, chunk: OutputChunk) {
        if let Some(watcher) = &self.watcher {
            watcher(&chunk);
        }
        if let Some(channel) = &self.channel {
            // Without a receiver the piece is discarded.
            let _sent = channel.send(chunk).await;
        }
    }
}

impl fmt::Debug for OutputSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputSink")
            .field("watcher", &self.watcher.is_some())
            .field("channel", &self.channel.is_some())
            .finish()
    }
}
