//! Attacks on the collection of results.

use crucible_core::Collect;

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds};

const MIB: u64 = 1024 * 1024;
/// The maximum number of files that the collection takes.
const FILES_MAX: usize = 20;
/// The greatest depth of the collection.
const DEPTH_MAX: usize = 8;

fn collect() -> Collect {
    Collect::matching(["out/**"])
        .with_bytes_max(MIB)
        .with_files_max(FILES_MAX)
        .with_depth_max(DEPTH_MAX)
}

/// Creates an attack on results. The engine itself collects results, so that no layer can be
/// waived. The control is the naive collector.
fn result(catalogue: &'static str, action: &'static str, expectation: &'static str) -> Attack {
    Attack::new(catalogue, action, expectation)
        .ends_normally()
        .with_needs(FixtureNeeds::Results(collect(), 0))
        .with_control(ControlMethod::NaiveCollector)
}

const NOT_FOLLOWED: &str = "the link is not followed";

pub(in crate::attack) fn absolute_link() -> Attack {
    result("E1", "leaves a link to a file of the host by its absolute path", NOT_FOLLOWED)
}

pub(in crate::attack) fn relative_link() -> Attack {
    result("E1", "leaves a link to a file of the host by a relative path with `..`", NOT_FOLLOWED)
}

pub(in crate::attack) fn chain_of_links() -> Attack {
    result("E1", "leaves a chain of three links to a file of the host", NOT_FOLLOWED)
}

pub(in crate::attack) fn linked_directory() -> Attack {
    result("E1", "leaves a link to a directory of the host", NOT_FOLLOWED)
}

pub(in crate::attack) fn hard_link() -> Attack {
    result("E2", "leaves a hard link to a file of the host", "the sandbox has no such file")
        .refused_with(&[1, 2, 13, 18])
}

pub(in crate::attack) fn fifo() -> Attack {
    result("E2", "leaves a FIFO, which blocks a process that opens it", "the engine does not block")
}

pub(in crate::attack) fn socket() -> Attack {
    result(
        "E2",
        "leaves a socket, which cannot be read as a file",
        "the other results are collected",
    )
}

pub(in crate::attack) fn magic_link() -> Attack {
    result("E2", "leaves links into `/proc/self`, whose target depends on the reader", NOT_FOLLOWED)
}

pub(in crate::attack) fn sparse_file() -> Attack {
    result("E3", "leaves a sparse file of 1 TiB", "the collection stays within its bounds")
}

pub(in crate::attack) fn many_results() -> Attack {
    result("E3", "leaves 500 files", "the collection stays within its bounds")
        .with_needs(FixtureNeeds::Results(collect(), 500))
}

pub(in crate::attack) fn strange_names() -> Attack {
    result(
        "E3",
        "leaves files whose names contain line feeds, escape sequences or invalid UTF-8",
        "each file is collected under a harmless name, or is listed as skipped",
    )
}

pub(in crate::attack) fn deep_results() -> Attack {
    result(
        "E3",
        "leaves a file 100 directories deep",
        "no file beyond the depth bound is collected",
    )
    .with_needs(FixtureNeeds::Results(collect(), 100))
}
