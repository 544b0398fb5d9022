//! Helpers for the tests of the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A wall limit that no test program needs, even on a busy machine.
pub(crate) const AMPLE: &str = "40s";

/// Returns a path in the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// Returns the command with these arguments, with an empty standard input and captured output.
pub(crate) fn crucible<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crucible"));
    // A developer's RUST_LOG must not change the output.
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Returns `crucible history` on a data directory.
pub(crate) fn history(data: &Path, arguments: &[&str]) -> Run {
    Run::of(crucible(["history", "--data"]).arg(data).args(arguments))
}

/// The output and the exit status of a process.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::new(command.output().unwrap())
    }

    /// Converts the output of a process that no signal ended.
    pub(crate) fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(status.is_some(), "a signal ended the process: {stderr}");
        Self { status: status.unwrap(), stdout, stderr }
    }

    /// Returns the verdict: the last line on standard error, without the usage.
    pub(crate) fn verdict(&self) -> &str {
        let line = self.stderr.lines().last().unwrap_or_default();
        let (verdict, usage) = line.split_once(" (").unwrap_or((line, ""));
        assert!(usage.starts_with("wall ") && usage.ends_with(')'), "no verdict line: {self:?}");
        verdict
    }

    /// Parses the whole standard output as one JSON object.
    pub(crate) fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }
}

/// Runs `crucible run` with these arguments.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    Run::of(crucible(["run"]).args(arguments))
}

/// Runs code under ample time, with further arguments.
pub(crate) fn run_code(language: &str, code: &str, more: &[&str]) -> Run {
    run(["--wall", AMPLE, "--language", language, "--code", code].iter().chain(more))
}
