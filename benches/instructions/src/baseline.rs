//! The reviewed baseline of counts, in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::comparison::ALLOWED_PERCENT;
use crate::counts::Counts;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json");

/// The counts of all paths.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Baseline {
    pub(crate) taken_with: TakenWith,
    pub(crate) paths: BTreeMap<String, Counts>,
}

/// The toolchain, on which the counts depend as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TakenWith {
    rustc: String,
    valgrind: String,
    libc: String,
}

impl Baseline {
    pub(crate) fn read() -> Result<Self, String> {
        let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{FILE}: {error}"))
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(FILE, text + "\n").map_err(|error| format!("{FILE}: {error}"))
    }

    /// Returns a baseline whose counts are lower by slightly more than the allowed margin.
    pub(crate) fn lowered(mut self) -> Self {
        for counts in self.paths.values_mut() {
            counts.instructions = counts.instructions * 100 / (100 + ALLOWED_PERCENT + 1);
        }
        self
    }
}

impl TakenWith {
    pub(crate) fn here() -> Result<Self, String> {
        Ok(Self {
            rustc: line("rustc", "--version")?,
            valgrind: line("valgrind", "--version")?,
            libc: line("getconf", "GNU_LIBC_VERSION")?,
        })
    }
}

impl fmt::Display for TakenWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} and {}", self.rustc, self.valgrind, self.libc)
    }
}

fn line(program: &str, argument: &str) -> Result<String, String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
