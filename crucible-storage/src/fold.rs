//! What follows from events.

use crucible_core::{EvaluationId, Event, Record, TransitionError};

/// The record after `events`, all of which must be of evaluation `id`.
pub(crate) fn follow(
    id: EvaluationId,
    current: Option<&Record>,
    events: &[Event],
) -> Result<Record, TransitionError> {
    let mut record = current.cloned();
    for event in events {
        if event.evaluation != id {
            return Err(TransitionError::Evaluation { found: event.evaluation });
        }
        record = Some(Record::apply(record.as_ref(), event)?);
    }
    record.ok_or(TransitionError::RecordState { state: "absent", event: "nothing" })
}
