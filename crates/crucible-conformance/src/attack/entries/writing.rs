//! Output without end.

use crucible_core::Limit;

use crate::attack::entry::Attack;

/// The host counts what it reads: there is no layer to give up.
fn flood(does: &'static str) -> Attack {
    Attack::new(
        "C1",
        does,
        "it is ended at its output limit, what the host keeps is bounded, and the verdict is `output`",
    )
    .ends_at(Limit::Output)
}

pub(in crate::attack) fn endless_stdout() -> Attack {
    flood("writes 4 MiB to standard output")
}

pub(in crate::attack) fn endless_stderr() -> Attack {
    flood("writes 4 MiB to standard error")
}

pub(in crate::attack) fn endless_both() -> Attack {
    flood("writes 4 MiB to each of both streams, in turns")
}
