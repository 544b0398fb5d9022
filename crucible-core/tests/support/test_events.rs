//! Generated events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    Ending, ErrorReport, Evaluation, EventKind, Evidence, Outcome, OutputStream, RequeueReason,
    WorkerId,
};
use proptest::prelude::*;

/// A kind of event, with the data that decides whether the event fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestEvent {
    Submitted,
    Started {
        attempt: u32,
    },
    AttemptFailed {
        attempt: u32,
    },
    Requeued {
        attempt: u32,
    },
    CancelRequested,
    Finished {
        cancelled: bool,
    },
    Failed,
    /// Without an outcome, or with an outcome that is cancelled or not.
    Cancelled {
        outcome: Option<bool>,
    },
    Expired,
    Output,
}

/// Generates a test event; events that make a journal longer are more likely.
pub(crate) fn test_event() -> impl Strategy<Value = TestEvent> {
    let attempt = || 0..5_u32;
    prop_oneof![
        1 => Just(TestEvent::Submitted),
        6 => attempt().prop_map(|attempt| TestEvent::Started { attempt }),
        3 => attempt().prop_map(|attempt| TestEvent::AttemptFailed { attempt }),
        3 => attempt().prop_map(|attempt| TestEvent::Requeued { attempt }),
        2 => Just(TestEvent::CancelRequested),
        1 => any::<bool>().prop_map(|cancelled| TestEvent::Finished { cancelled }),
        1 => Just(TestEvent::Failed),
        1 => proptest::option::of(any::<bool>())
            .prop_map(|outcome| TestEvent::Cancelled { outcome }),
        1 => Just(TestEvent::Expired),
        1 => Just(TestEvent::Output),
    ]
}

fn outcome(cancelled: bool) -> Arc<Outcome> {
    let waited =
        Evidence::Waited { ending: Ending::Exited { code: 1 }, after: Duration::from_millis(3) };
    Arc::new(Outcome::new(
        "fake",
        vec![if cancelled { Evidence::CancelledBeforeStart } else { waited }],
    ))
}

impl TestEvent {
    pub(crate) fn event_kind(self) -> EventKind {
        match self {
            Self::Submitted => EventKind::Submitted {
                evaluation: Arc::new(Evaluation::python("print(1)").with_label("l", "v")),
            },
            Self::Started { attempt } => EventKind::Started {
                attempt,
                worker: WorkerId::new("host/0"),
                engine: "fake".to_owned(),
            },
            Self::AttemptFailed { attempt } => EventKind::AttemptFailed {
                attempt,
                error: ErrorReport::new("lost", "the sandbox was lost"),
                retry_in: Duration::from_millis(100),
            },
            Self::Requeued { attempt } => {
                EventKind::Requeued { attempt, reason: RequeueReason::LeaseExpired }
            }
            Self::CancelRequested => EventKind::CancelRequested,
            Self::Finished { cancelled } => EventKind::Finished { outcome: outcome(cancelled) },
            Self::Failed => {
                EventKind::Failed { error: ErrorReport::new("poison", "3 workers died") }
            }
            Self::Cancelled { outcome: of } => {
                EventKind::Cancelled { reason: "on request".to_owned(), outcome: of.map(outcome) }
            }
            Self::Expired => EventKind::Expired,
            Self::Output => EventKind::Output {
                stream: OutputStream::Stdout,
                offset: 0,
                bytes: Bytes::from_static(b"x"),
            },
        }
    }
}
