//! Cases on single records.

use crucible_core::{EvaluationId, Record, RecordState};

use super::support::{Subject, append, put, way_to};

/// A record is the fold of its journal, in every state.
pub async fn record_equals_fold_of_journal(storage: Subject) {
    for state in RecordState::ALL {
        let record = put(&storage).await;
        let record = append(&storage, &record, way_to(state)).await.unwrap();
        assert_eq!(record.state, state);
        let journal = storage.journal(record.id, 0).await.unwrap();
        assert_eq!(Record::fold(&journal).unwrap().as_ref(), Some(&record));
        assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
    }
}

/// The record of an unknown evaluation is `None`.
pub async fn record_of_unknown_evaluation_is_none(storage: Subject) {
    assert_eq!(storage.record(EvaluationId::new()).await.unwrap(), None);
    let record = put(&storage).await;
    assert_eq!(storage.record(EvaluationId::new()).await.unwrap(), None);
    assert_eq!(storage.record(record.id).await.unwrap(), Some(record));
}
