//! What every [`Storage`](crucible_core::Storage) must do.

mod support;

suite! {
    $
    /// Makes a test of each case of [`storage`](crate::storage) for a kind of storage: the module's name, and a closure
    /// that makes a fresh storage.
    storage_conformance: storage with dyn Storage;

    append:
        all_events_are_appended_or_none,
        a_journal_of_another_length_is_a_conflict_that_says_its_length,
        of_many_writers_exactly_one_writes,
        every_event_must_follow,
        an_event_of_another_evaluation_is_refused,
        a_signal_is_refused,
        no_event_gives_the_record_as_it_is,
        an_append_that_is_dropped_appends_all_events_or_none;
    key:
        a_key_that_the_tenant_has_used_is_taken,
        another_tenant_has_keys_of_its_own,
        of_many_evaluations_with_one_key_exactly_one_is_stored,
        a_key_is_kept_to_the_end_and_beyond,
        a_refused_evaluation_gives_its_key_back;
    record:
        a_record_is_the_fold_of_its_journal,
        there_is_no_record_of_what_was_never_submitted;
    records:
        records_come_in_the_order_of_their_ids_or_the_other_way_round,
        following_the_pages_gives_every_record_once,
        following_the_pages_gives_what_matched_throughout_while_others_write,
        a_query_gives_what_it_asks_for_and_nothing_else,
        a_page_is_no_longer_than_asked_for;
    journal:
        entries_come_in_order_without_a_gap,
        entries_come_back_as_they_were_written,
        there_is_no_journal_of_what_was_never_submitted;
    blob:
        a_blob_comes_back_by_its_hash,
        the_same_bytes_are_the_same_blob,
        there_is_no_blob_that_was_never_kept;
    remove:
        nothing_of_a_removed_evaluation_can_be_found,
        what_has_not_ended_is_not_removed,
        a_removal_expects_a_length_too,
        what_is_not_there_is_not_removed,
        the_key_of_a_removed_evaluation_is_free,
        a_blob_goes_with_the_last_that_names_it,
        a_blob_that_is_about_to_be_named_stays,
        of_many_who_remove_exactly_one_removes;
}
