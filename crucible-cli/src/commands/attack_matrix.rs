//! The table of attacks and layers.

use std::fs;
use std::path::Path;

use crucible::model::Layer;
use crucible_conformance::attack::AttackSuite;

use crate::commands::attack::BAR;
use crate::failure::{ExitStatus, Failure};
use crate::output::print_line;
use crate::progress;
use crate::terminal_text::escaped;

/// The text before the table.
const HEAD: &str = include_str!("attack_matrix_head.md");
/// A cell: the attack did harm without the layer.
const OPEN: &str = " **open** |";
/// A cell: the attack did no harm.
const HELD: &str = " · |";

/// Runs every attack without each layer, and writes the table or compares it with the file.
///
/// # Errors
/// Returns a failure if the infrastructure fails or the file cannot be read or written.
pub(super) async fn run(
    suite: &AttackSuite,
    file: &Path,
    check: bool,
) -> Result<ExitStatus, Failure> {
    let bar = progress::bar(Layer::ALL.len() as u64, BAR);
    let matrix = suite
        .matrix(|layer| {
            bar.set_message(format!("without {layer}"));
            bar.inc(1);
        })
        .await;
    bar.finish_and_clear();
    let matrix = matrix.map_err(|error| Failure::infrastructure(&error))?;
    for line in matrix.inconclusive() {
        eprintln!("inconclusive: {}", escaped(&line));
    }
    let table = format!("{HEAD}{matrix}");
    if check {
        let expected = fs::read_to_string(file);
        compare(&expected.map_err(|error| Failure::file("read", file, &error))?, &table)
    } else {
        fs::write(file, table).map_err(|error| Failure::file("write", file, &error))?;
        Ok(ExitStatus::Success)
    }
}

/// Prints the lines that differ. A cell that is no longer open is not a deviation: the kernel of
/// this host may stop the attack.
fn compare(expected: &str, actual: &str) -> Result<ExitStatus, Failure> {
    let mut deviates = expected.lines().count() != actual.lines().count();
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        if expected == actual {
            continue;
        }
        let closed = only_closes(expected, actual);
        deviates |= !closed;
        let title = if closed { "closed on this kernel:" } else { "deviates:" };
        print_line(&format!("{title}\n- {expected}\n+ {actual}"))?;
    }
    Ok(if deviates { ExitStatus::Negative } else { ExitStatus::Success })
}

/// Returns `true` if the lines differ only in cells that were open and are not open now.
fn only_closes(expected: &str, actual: &str) -> bool {
    expected.replace(OPEN, HELD) == actual.replace(OPEN, HELD)
        && expected
            .split(" |")
            .zip(actual.split(" |"))
            .all(|(expected, actual)| expected == actual || expected.ends_with("**open**"))
}

#[cfg(test)]
mod tests {
    use super::only_closes;

    #[test]
    fn closed_cell_is_no_deviation_opened_cell_is() {
        let (open, held) = ("| ptrace | **open** | · |", "| ptrace | · | · |");
        assert!(only_closes(open, held));
        assert!(!only_closes(held, open));
        assert!(!only_closes(open, "| mount | · | · |"));
    }
}
