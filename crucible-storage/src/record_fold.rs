//! The fold of events into a record.

use crucible_core::{EvaluationId, Event, Record, TransitionError};

/// Returns the record after `events`. All of them must belong to the evaluation `id`.
pub(crate) fn fold_events(
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
    record.ok_or(TransitionError::State { state: "absent", event: "nothing" })
}
