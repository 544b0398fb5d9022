//! Output while it comes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::result::OutputStream;

/// A piece of a program's output, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputChunk {
    /// The stream it was written to.
    pub stream: OutputStream,
    /// How many bytes of the stream came before it.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl OutputChunk {
    /// A piece of output.
    #[must_use]
    pub fn new(stream: OutputStream, offset: u64, bytes: Bytes) -> Self {
        Self { stream, offset, bytes }
    }
}

type Watcher = dyn Fn(&OutputChunk) + Send + Sync;

/// Where an engine sends output while it comes. By default nowhere.
///
/// Two ways, which may be combined. A *watcher* is called with every piece and must return at once. A *channel* gets
/// every piece without loss: while it is full the program's output is not read, so the program waits (its limits
/// run on); once its receiver is dropped, pieces go nowhere and the program is not disturbed.
#[derive(Clone, Default)]
pub struct OutputSink {
    watcher: Option<Arc<Watcher>>,
    channel: Option<mpsc::Sender<OutputChunk>>,
}

impl OutputSink {
    /// Output goes nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls `watcher` with every piece. It must not block: it runs where the output is read.
    #[must_use]
    pub fn with_watcher(mut self, watcher: impl Fn(&OutputChunk) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Sends every piece to a bounded channel, and waits while it is full.
    #[must_use]
    pub fn with_channel(mut self, channel: mpsc::Sender<OutputChunk>) -> Self {
        self.channel = Some(channel);
        self
    }

    /// Whether pieces go nowhere, so that an engine need not make them.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.watcher.is_none() && self.channel.is_none()
    }

    /// Passes a piece on.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready may lose the piece for the channel.
    pub async fn send(&self, chunk: OutputChunk) {
        if let Some(watcher) = &self.watcher {
            watcher(&chunk);
        }
        if let Some(channel) = &self.channel {
            // A receiver that is gone has seen enough.
            let _gone = channel.send(chunk).await;
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
