//! What is put where results are looked for.

use crucible_core::Collect;

use crate::attack::definition::{Attack, ControlMethod, FixtureNeeds};

const MIB: u64 = 1024 * 1024;
/// As many as a collection takes, and as deep as it goes.
const FILES_MAX: usize = 20;
const DEPTH_MAX: usize = 8;

fn collect() -> Collect {
    Collect::matching(["out/**"])
        .with_bytes_max(MIB)
        .with_files_max(FILES_MAX)
        .with_depth_max(DEPTH_MAX)
}

/// Results are brought out by the engine: there is no layer to give up. The control is somebody who takes no care.
fn result(catalogue: &'static str, does: &'static str, holds: &'static str) -> Attack {
    Attack::new(catalogue, does, holds)
        .ends_normally()
        .with_needs(FixtureNeeds::Results(collect(), 0))
        .with_control(ControlMethod::NaiveCollector)
}

const NOT_FOLLOWED: &str = "what comes out is not what the link leads to";

pub(in crate::attack) fn absolute_link() -> Attack {
    result("E1", "leaves a link to a file of the host by its absolute path", NOT_FOLLOWED)
}

pub(in crate::attack) fn relative_link() -> Attack {
    result("E1", "leaves a link to a file of the host by a path that climbs", NOT_FOLLOWED)
}

pub(in crate::attack) fn chain_of_links() -> Attack {
    result("E1", "leaves a link to a link to a link to a file of the host", NOT_FOLLOWED)
}

pub(in crate::attack) fn linked_directory() -> Attack {
    result("E1", "leaves a link to a directory of the host", NOT_FOLLOWED)
}

pub(in crate::attack) fn hard_link() -> Attack {
    result("E2", "leaves a hard link to a file of the host", "there is none to link to")
        .refused_with(&[1, 2, 13, 18])
}

pub(in crate::attack) fn fifo() -> Attack {
    result("E2", "leaves a FIFO, at which whoever opens it waits for ever", "nobody waits")
}

pub(in crate::attack) fn socket() -> Attack {
    result("E2", "leaves a socket, which cannot be read as a file", "the other results come out")
}

pub(in crate::attack) fn magic_link() -> Attack {
    result("E2", "leaves links into `/proc/self`, which is whoever follows them", NOT_FOLLOWED)
}

pub(in crate::attack) fn sparse_file() -> Attack {
    result("E3", "leaves a file of 1 TiB of nothing", "no more comes out than asked for")
}

pub(in crate::attack) fn many_results() -> Attack {
    result("E3", "leaves 500 files", "no more come out than asked for")
        .with_needs(FixtureNeeds::Results(collect(), 500))
}

pub(in crate::attack) fn strange_names() -> Attack {
    result(
        "E3",
        "leaves files whose names have line feeds, escape sequences, no text, or look like options",
        "each comes out under a name that harms nobody, or is report to have been skipped",
    )
}

pub(in crate::attack) fn deep_results() -> Attack {
    result(
        "E3",
        "leaves a file 100 directories deep",
        "nothing comes out from deeper than asked for",
    )
    .with_needs(FixtureNeeds::Results(collect(), 100))
}
