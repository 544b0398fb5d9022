//! The cases for every [`Storage`](crucible_core::Storage).

mod support;

suite! {
    $
    /// Generates a test for each case of [`storage`](crate::storage). The arguments are the name of
    /// a module and a closure that creates a new storage.
    storage_conformance: storage with dyn Storage;

    append:
        append_is_all_or_nothing,
        wrong_expected_length_is_conflict_with_actual,
        concurrent_appends_let_exactly_one_succeed,
        invalid_transition_is_refused,
        event_of_another_evaluation_is_refused,
        signal_event_is_refused,
        empty_append_returns_current_record,
        dropped_append_is_all_or_nothing;
    key:
        key_used_by_same_tenant_is_taken,
        key_used_by_another_tenant_is_free,
        concurrent_submits_with_one_key_store_exactly_one,
        key_stays_taken_after_evaluation_ends,
        refused_evaluation_releases_its_key;
    record:
        record_equals_fold_of_journal,
        record_of_unknown_evaluation_is_none;
    records:
        records_are_sorted_by_id_in_either_direction,
        paging_returns_every_record_once,
        paging_during_writes_returns_stable_records_once,
        query_returns_exactly_the_matching_records,
        page_respects_requested_and_maximum_size;
    journal:
        journal_entries_are_ordered_without_gaps,
        journal_entries_round_trip_unchanged,
        journal_of_unknown_evaluation_is_empty;
    blob:
        blob_is_read_back_by_its_hash,
        equal_bytes_are_one_blob,
        unknown_blob_is_none;
    remove:
        removed_evaluation_cannot_be_found,
        unended_evaluation_is_not_removed,
        remove_with_wrong_length_is_conflict,
        remove_of_unknown_evaluation_returns_false,
        removed_evaluation_releases_its_key,
        blob_is_removed_with_its_last_reference,
        unreferenced_blob_survives_removal_of_others,
        concurrent_removes_let_exactly_one_succeed;
}
