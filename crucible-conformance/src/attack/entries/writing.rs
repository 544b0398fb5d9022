//! Attacks by output.

use crucible_core::{Digest, Limit};

use crate::attack::definition::{Attack, ControlMethod};

/// Creates an attack that floods output. The host counts the bytes that it reads, so that no layer
/// can be waived.
fn flood(action: &'static str) -> Attack {
    Attack::new(
        "C1",
        action,
        "the engine ends it at its limit, captures a bounded part, and the verdict is `output`",
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
    flood("writes 4 MiB to each stream, alternating between them")
}

/// Creates an attack on captured output. The engine itself captures output, so that no layer can be
/// waived. The control is the naive judge, which reads output as text.
fn capture(catalogue: &'static str, action: &'static str, expectation: &'static str) -> Attack {
    Attack::new(catalogue, action, expectation)
        .ends_normally()
        .with_control(ControlMethod::NaiveJudge)
}

pub(in crate::attack) fn binary_output() -> Attack {
    capture(
        "C2",
        "writes 64 KiB without valid UTF-8 or a line feed",
        "every byte is counted and captured unchanged",
    )
    .with_check(|outcome| {
        let expected = [0, 0xff, 0xfe, b'a', 0x80, 0xc3, 0, 0xe2].repeat(8192);
        let captured = &outcome.stderr;
        let same = captured.total_bytes == 65_536 && captured.sha256 == Digest::of(&expected);
        (!same).then_some("the captured output differs from the written output")
    })
}

pub(in crate::attack) fn escape_sequences() -> Attack {
    capture(
        "C3",
        "writes terminal escape sequences for titles, the clipboard and queries",
        "the sequences are captured unchanged and have no effect",
    )
    .with_check(|outcome| {
        let raw = outcome.stderr.head.starts_with(b"\x1b]0;owned\x07");
        (!raw).then_some("the captured output differs from the written output")
    })
}

pub(in crate::attack) fn more_than_a_pipe() -> Attack {
    Attack::new(
        "C5",
        "writes more than the capacity of a pipe to each stream, and exits with 5",
        "the verdict is `exited 5`, and no output is lost",
    )
    .exits_with(5)
    .with_check(|outcome| (outcome.stderr.total_bytes != 262_144).then_some("output was lost"))
    .with_control(ControlMethod::NotShown(
        "the control reads while the program runs, so that it does not block",
    ))
}

pub(in crate::attack) fn small_writes() -> Attack {
    Attack::new(
        "C6",
        "writes 50,000 bytes, one call for each",
        "every byte is counted, and the host stays responsive",
    )
    .ends_normally()
    .with_check(|outcome| (outcome.stderr.total_bytes != 50_000).then_some("output was lost"))
    .with_control(ControlMethod::NotShown(
        "the attack aims at captured output only, and a plain process has none",
    ))
}
