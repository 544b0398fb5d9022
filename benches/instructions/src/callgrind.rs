//! Instruction counts from valgrind's callgrind, which emulates the processor and therefore gives
//! the same counts on every machine.

use std::collections::HashMap;
use std::process::Command;

use crate::counts::Counts;

/// The inner loop of SHA-256, counted separately. Callgrind's processor has no SHA instructions, so
/// hashing takes half of all instructions and would hide changes elsewhere.
const HASHING: &str = "sha2::";

/// Runs one path of this program under callgrind.
pub(crate) fn count(name: &str) -> Result<Counts, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let scratch =
        tempfile::tempdir().map_err(|error| format!("cannot create a directory: {error}"))?;
    let out = scratch.path().join("out");
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--quiet",
        "--collect-atstart=no",
        "--toggle-collect=*counted_steps*",
    ]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(own).args(["--run", name]);
    let output = command
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}\nfix: install `valgrind`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let failed =
        || format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let profile = std::fs::read_to_string(&out).map_err(|_| failed())?;
    let (instructions, hashing) = sums(&profile);
    let mut numbers = stdout.split_whitespace().map_while(|number| number.parse().ok());
    match (output.status.success(), numbers.next(), numbers.next(), numbers.next()) {
        (true, Some(steps), Some(allocations), Some(bytes)) if instructions > 0 => {
            Ok(Counts { steps, instructions, hashing, allocations, bytes })
        }
        _ => Err(failed()),
    }
}

/// Sums a profile into instructions outside and inside of hashing.
///
/// The format names a function at its first use and numbers it later. A line of numbers is a
/// position and its cost, except after `calls=`, where it is the inclusive cost of a callee.
fn sums(profile: &str) -> (u64, u64) {
    let (mut names, mut sums) = (HashMap::new(), (0, 0));
    let (mut is_hashing, mut is_callee_cost) = (false, false);
    for line in profile.lines() {
        if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            let known = names.entry(number).or_insert_with(|| name.contains(HASHING));
            if line.starts_with("fn=") {
                is_hashing = *known;
            }
        } else if line.starts_with("calls=") {
            is_callee_cost = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let executed =
                line.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0_u64);
            match (std::mem::take(&mut is_callee_cost), is_hashing) {
                (true, _) => {}
                (false, true) => sums.1 += executed,
                (false, false) => sums.0 += executed,
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_exclude_inclusive_costs_of_callees() {
        let profile = "events: Ir\nfn=(1) main\n0 5\ncfn=(2) sha2::compress\ncalls=2 0\n0 70\n+3 6\n\nfn=(2)\n0 40\n* 30\n\ntotals: 81\n";
        assert_eq!(sums(profile), (11, 70));
    }
}
