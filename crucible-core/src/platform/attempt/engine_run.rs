//! The run of an engine within an attempt.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::{EngineError, OutputChunk, OutputSink, RunContext};
use crate::journal::{Event, EventKind, Record};
use crate::platform::accepted_evaluations::AcceptedEvaluation;
use crate::platform::platform::{NamedEngine, Platform};
use crate::queue::Claim;
use crate::result::Outcome;

/// The number of output chunks that may be in transit from an engine to the bus.
const MAX_CHUNKS: usize = 64;
/// The longest time for which a full output channel of the caller delays an outcome.
const RECEIVER_GRACE: Duration = Duration::from_secs(5);

/// One call of [`Engine::run`](crate::Engine::run), with live output on the bus.
#[derive(Debug)]
pub(super) struct EngineRun<'a> {
    pub(super) platform: &'a Platform,
    pub(super) claim: &'a Claim,
    pub(super) record: &'a Record,
    pub(super) engine: &'a NamedEngine,
    pub(super) cancel: &'a CancellationToken,
}

impl EngineRun<'_> {
    /// Runs the engine and forwards its output. A panic of the engine becomes an error.
    pub(super) async fn run(&self) -> Result<Outcome, EngineError> {
        let AcceptedEvaluation { evaluation, output } = self.accepted();
        let (sender, chunks) = mpsc::channel(MAX_CHUNKS);
        let run = async {
            let context = RunContext::new()
                .with_languages(Arc::clone(&self.platform.languages))
                .with_output(OutputSink::none().with_channel(sender))
                .with_cancel(self.cancel.clone())
                .with_queued(self.claim.waited)
                .with_evaluation(self.record.id);
            AssertUnwindSafe(self.engine.engine.run(&evaluation, &context)).catch_unwind().await
        };
        let forward = self.forward_output(chunks, output);
        tokio::pin!(run, forward);
        let result = tokio::select! {
            result = &mut run => {
                if tokio::time::timeout(RECEIVER_GRACE, forward).await.is_err() {
                    let id = self.record.id;
                    tracing::warn!(%id, "the output channel stays full; dropping further output");
                }
                result
            }
            // The engine dropped its sink before its run ended. No more output follows.
            () = &mut forward => run.await,
        };
        result.unwrap_or_else(|_| {
            // The program may have started, so it must not run twice.
            Err(EngineError::Lost {
                doing: "the engine panicked".to_owned(),
                started: true,
                source: None,
            })
        })
    }

    /// Returns the evaluation with its secrets and its output channel, if this process accepted it,
    /// or else the stored evaluation.
    fn accepted(&self) -> AcceptedEvaluation {
        self.platform.accepted.get(self.record.id).unwrap_or_else(|| AcceptedEvaluation {
            evaluation: Arc::clone(&self.record.evaluation),
            output: None,
        })
    }

    async fn forward_output(
        &self,
        mut chunks: mpsc::Receiver<OutputChunk>,
        output: Option<mpsc::Sender<OutputChunk>>,
    ) {
        while let Some(chunk) = chunks.recv().await {
            let OutputChunk { stream, offset, ref bytes } = chunk;
            let kind = EventKind::Output { stream, offset, bytes: bytes.clone() };
            let event = Event::signal(self.record.id, self.record.sequence, kind);
            self.platform.journal.publish(event).await;
            if let Some(output) = &output {
                // A caller that dropped its receiver wants no more output.
                let _dropped = output.send(chunk).await;
            }
        }
    }
}
