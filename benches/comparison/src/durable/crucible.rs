//! The storage and queue of a data directory, used as in the platform.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crucible::journal::{Event, EventKind};
use crucible::model::{Digest, EvaluationId, Timestamp, WorkerId};
use crucible::queue::{DurableQueue, Queue as _, Ticket};
use crucible::result::Evidence;
use crucible::storage::{DataDirectory, DataDirectoryOptions, DurableStorage, Storage as _};
use crucible::{Evaluation, Outcome};

use crate::{Step, Subject, payload};

const LEASE: Duration = Duration::from_secs(30);

pub(crate) struct Stores {
    storage: DurableStorage,
    queue: Arc<DurableQueue>,
    next: AtomicU64,
}

impl Stores {
    pub(crate) async fn open(path: &Path) -> Self {
        let options = DataDirectoryOptions::new().with_capacity(u64::MAX);
        let directory = DataDirectory::open_with(path, options).await.expect("a directory");
        Self { storage: directory.storage(), queue: directory.queue(), next: AtomicU64::new(1) }
    }
}

impl Subject for Stores {
    fn name(&self) -> &'static str {
        "crucible's data directory"
    }

    fn submit(&self, _: usize) -> Step {
        let (storage, queue) = (self.storage.clone(), Arc::clone(&self.queue));
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let id = EvaluationId::new();
            let evaluation = Arc::new(Evaluation::shell(payload(n)));
            let ticket = Ticket::new(id, evaluation.priority, "");
            let kind = EventKind::Submitted { evaluation };
            let event = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
            storage.append(id, 0, vec![event]).await.expect("it is stored");
            queue.enqueue(ticket).await.expect("it is queued");
            true
        })
    }

    fn cycle(&self, writer: usize) -> Step {
        let (storage, queue) = (self.storage.clone(), Arc::clone(&self.queue));
        Box::pin(async move {
            let worker = WorkerId::new(format!("bench/{writer}"));
            let claim = queue.claim(&worker, LEASE, Duration::ZERO).await.expect("a claim");
            let Some(claim) = claim else { return false };
            let id = claim.ticket.evaluation;
            let record = storage.record(id).await.expect("it is read").expect("it is there");
            let kind = EventKind::Started { attempt: 1, worker, engine: "none".to_owned() };
            let record =
                storage.append(id, 1, vec![record.next(kind)]).await.expect("it is stored");
            let outcome = Outcome::new("none", vec![Evidence::CancelledBeforeStart]);
            let kind = EventKind::Cancelled {
                reason: "a benchmark without runs".to_owned(),
                outcome: Some(outcome.into()),
            };
            storage.append(id, 2, vec![record.next(kind)]).await.expect("it is stored");
            queue.ack(&claim).await.expect("it is settled");
            true
        })
    }
}
