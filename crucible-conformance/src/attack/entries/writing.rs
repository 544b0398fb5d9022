//! Output without end.

use crucible_core::{Digest, Limit};

use crate::attack::definition::{Attack, ControlMethod};

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

/// Told apart by what is kept: there is no layer to give up. The control is somebody who takes output for text.
fn kept(catalogue: &'static str, does: &'static str, holds: &'static str) -> Attack {
    Attack::new(catalogue, does, holds).ends_normally().with_control(ControlMethod::NaiveJudge)
}

pub(in crate::attack) fn binary_output() -> Attack {
    kept(
        "C2",
        "writes 64 KiB that are no text and no line",
        "every byte is counted and kept as it is",
    )
    .with_check(|outcome| {
        let expected = [0, 0xff, 0xfe, b'a', 0x80, 0xc3, 0, 0xe2].repeat(8192);
        let captured = &outcome.stderr;
        let same = captured.total_bytes == 65_536 && captured.sha256 == Digest::of(&expected);
        (!same).then_some("the output is not what was written")
    })
}

pub(in crate::attack) fn escape_sequences() -> Attack {
    kept(
        "C3",
        "writes what terminals obey: titles, clipboards, questions",
        "it is kept raw, and nobody obeys",
    )
    .with_check(|outcome| {
        let raw = outcome.stderr.head.starts_with(b"\x1b]0;owned\x07");
        (!raw).then_some("the output is not what was written")
    })
}

pub(in crate::attack) fn more_than_a_pipe() -> Attack {
    Attack::new(
        "C5",
        "writes more to each stream than a pipe holds, and exits with 5",
        "the verdict is `exited 5`, and nothing is lost",
    )
    .exits_with(5)
    .with_check(|outcome| (outcome.stderr.total_bytes != 262_144).then_some("output was lost"))
    .with_control(ControlMethod::NotShown(
        "the control reads as it goes; one that waits for the end first would wait for ever",
    ))
}

pub(in crate::attack) fn small_writes() -> Attack {
    Attack::new("C6", "writes 50,000 times a byte", "every byte is counted, and nobody is flooded")
        .ends_normally()
        .with_check(|outcome| (outcome.stderr.total_bytes != 50_000).then_some("output was lost"))
        .with_control(ControlMethod::NotShown(
            "nothing is isolated here: the case is about what is kept",
        ))
}
