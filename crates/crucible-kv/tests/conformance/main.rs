//! What every backend must do: one list of cases, and a test of each for every adapter.
//!
//! Two cases mount a small tmpfs(5), for which they have to be root; as another user they say so and end.

#![deny(dead_code, reason = "a case that is not in the list would never run")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

mod backend_kind;
mod commits;
mod corruption;
mod directories;
mod disk_space;
mod model;
mod scans;

macro_rules! conformance {
    ($($kind:ident: $make:expr;)+ { $($part:ident: $($case:ident),+;)+ }) => {
        conformance!(@each [$($kind: $make;)+] { $($part: $($case),+;)+ });
    };
    (@each [] $cases:tt) => {};
    (@each [$kind:ident: $make:expr; $($rest:tt)*] { $($part:ident: $($case:ident),+;)+ }) => {
        mod $kind {
            $($(
                #[test]
                fn $case() {
                    let scratch = tempfile::tempdir().unwrap();
                    crate::$part::$case(&$make, scratch.path());
                }
            )+)+
        }
        conformance!(@each [$($rest)*] { $($part: $($case),+;)+ });
    };
}

conformance! {
    redb: crate::backend_kind::BackendKind::redb();
    sled: crate::backend_kind::BackendKind::sled();
    {
        commits: a_key_has_the_value_that_was_written_last,
            what_was_committed_is_there_when_it_is_opened_again,
            large_values_and_long_keys_come_back,
            a_level_beyond_the_strongest_is_refused,
            a_write_is_told_whether_what_was_read_has_changed;
        scans: a_range_comes_in_its_order_and_the_other_way_round,
            an_empty_range_has_nothing,
            following_the_pages_gives_everything_once,
            a_scan_sees_all_of_a_commit_or_nothing;
        model: any_sequence_of_calls_gives_what_a_plain_map_gives;
        directories: a_second_opener_is_told_who_was_first,
            a_directory_of_another_kind_is_refused,
            a_directory_that_cannot_be_written_is_named;
        disk_space: space_is_used_again_or_given_back,
            without_room_nothing_is_lost_and_work_goes_on_once_there_is_some;
        corruption: a_changed_byte_is_never_taken_for_data,
            a_file_that_was_cut_off_is_never_taken_for_data;
    }
}
