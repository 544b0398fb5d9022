//! The contract of every backend: one list of cases, and a test for each case and backend.
//!
//! Two cases mount a small tmpfs(5), which needs root. As another user they print SKIPPED and the
//! reason.

#![deny(dead_code, reason = "a case outside the list would never run")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper may panic, as the test itself may"
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
        commits: get_returns_last_written_value,
            committed_entries_survive_reopen,
            large_values_and_long_keys_survive_reopen,
            commit_beyond_strongest_level_is_refused,
            is_unchanged_detects_changes_since_read;
        scans: scan_follows_range_order_in_both_directions,
            empty_range_returns_no_entries,
            paging_returns_every_entry_once,
            scan_sees_commit_whole_or_not_at_all;
        model: random_calls_match_plain_map;
        directories: second_opener_gets_identity_of_first,
            directory_of_other_kind_is_refused,
            read_only_directory_is_named;
        disk_space: deleted_space_is_reused_or_released,
            full_disk_loses_nothing_and_recovers;
        corruption: changed_byte_is_never_returned_as_data,
            truncated_file_is_never_returned_as_data;
    }
}
