//! Kinds of events, in a form that can be drawn.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    Ending, ErrorReport, Evaluation, EventKind, Evidence, Outcome, OutputStream, RequeueReason,
    WorkerId,
};
use proptest::prelude::*;

/// A kind of event, with what decides whether it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
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
    /// With an outcome whose verdict is `Cancelled` or not, or without one.
    Cancelled {
        outcome: Option<bool>,
    },
    Expired,
    Output,
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    let attempt = || 0..5_u32;
    prop_oneof![
        1 => Just(Kind::Submitted),
        6 => attempt().prop_map(|attempt| Kind::Started { attempt }),
        3 => attempt().prop_map(|attempt| Kind::AttemptFailed { attempt }),
        3 => attempt().prop_map(|attempt| Kind::Requeued { attempt }),
        2 => Just(Kind::CancelRequested),
        1 => any::<bool>().prop_map(|cancelled| Kind::Finished { cancelled }),
        1 => Just(Kind::Failed),
        1 => proptest::option::of(any::<bool>()).prop_map(|outcome| Kind::Cancelled { outcome }),
        1 => Just(Kind::Expired),
        1 => Just(Kind::Output),
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

impl Kind {
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
