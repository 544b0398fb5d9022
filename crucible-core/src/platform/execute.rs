//! Running an engine under a lease, and passing output on while it comes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::Settled;
use super::commit::Right;
use super::shared::{NamedEngine, Shared};
use crate::engine::{EngineError, OutputChunk, OutputSink, RunContext};
use crate::journal::{Event, EventKind, Record};
use crate::model::Evaluation;
use crate::queue::Claim;
use crate::result::Outcome;

/// How many pieces of output may be on their way from an engine to the bus.
const PIECES: usize = 64;
/// How long an attached receiver that does not receive may hold up an outcome.
const RECEIVER_GRACE: Duration = Duration::from_secs(5);

impl Shared {
    /// Runs an attempt to its end, and writes down how it went, as long as the lease is held.
    pub(super) async fn execute(
        &self,
        claim: &Claim,
        claimed: Instant,
        record: &Record,
        engine: &NamedEngine,
        right: &Right<'_>,
        cancel: &CancellationToken,
    ) -> Settled {
        let lost = CancellationToken::new();
        let work = async {
            tokio::select! {
                result = self.run_engine(claim, record, engine, cancel) => {
                    self.finish(record, right, result, &lost).await
                }
                // The run's future is dropped, and with it the sandbox: somebody else runs the evaluation now.
                () = lost.cancelled() => Settled::Lost,
            }
        };
        let keep = async {
            self.keep(claim, claimed, &lost, cancel).await;
            // The work sees `lost`, and ends by itself.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            settled = work => settled,
            () = keep => Settled::Lost,
        }
    }

    async fn run_engine(
        &self,
        claim: &Claim,
        record: &Record,
        engine: &NamedEngine,
        cancel: &CancellationToken,
    ) -> Result<Outcome, EngineError> {
        let (evaluation, attached) = self.accepted_here(record);
        let (sender, pieces) = mpsc::channel(PIECES);
        let run = async {
            let context = RunContext::new()
                .with_languages(Arc::clone(&self.languages))
                .with_output(OutputSink::none().with_channel(sender))
                .with_cancel(cancel.clone())
                .with_queued(claim.waited)
                .with_evaluation(record.id);
            AssertUnwindSafe(engine.engine.run(&evaluation, &context)).catch_unwind().await
        };
        let pass_on = self.pass_on(record, pieces, attached);
        tokio::pin!(run, pass_on);
        let result = tokio::select! {
            result = &mut run => {
                if tokio::time::timeout(RECEIVER_GRACE, pass_on).await.is_err() {
                    tracing::warn!(id = %record.id, "the receiver of live output does not receive; the rest is dropped");
                }
                result
            }
            // The engine dropped its sink before it was done: there is no more output to come.
            () = &mut pass_on => run.await,
        };
        result.unwrap_or_else(|_| {
            // Whether the program had started is unknown, so it must not be run twice.
            Err(EngineError::Lost {
                doing: "the engine panicked".to_owned(),
                started: true,
                source: None,
            })
        })
    }

    /// The evaluation with its secrets, and where its output goes without loss, if it was accepted in this process.
    fn accepted_here(
        &self,
        record: &Record,
    ) -> (Arc<Evaluation>, Option<mpsc::Sender<OutputChunk>>) {
        match self.accepted().get(&record.id) {
            Some(accepted) => (Arc::clone(&accepted.evaluation), accepted.output.clone()),
            None => (Arc::clone(&record.evaluation), None),
        }
    }

    async fn pass_on(
        &self,
        record: &Record,
        mut pieces: mpsc::Receiver<OutputChunk>,
        attached: Option<mpsc::Sender<OutputChunk>>,
    ) {
        while let Some(piece) = pieces.recv().await {
            let OutputChunk { stream, offset, ref bytes } = piece;
            let kind = EventKind::Output { stream, offset, bytes: bytes.clone() };
            self.tell(Event::signal(record.id, record.sequence, kind)).await;
            if let Some(attached) = &attached {
                // A receiver that is gone has seen enough.
                let _gone = attached.send(piece).await;
            }
        }
    }
}
