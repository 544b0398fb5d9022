//! What these tests share.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A path in this project.
pub(crate) fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The compiled example of this name, not started yet, with nothing to read and whatever it writes kept.
pub(crate) fn example(name: &str) -> Command {
    // Tests are in `target/<profile>/deps`, examples beside that in `target/<profile>/examples`.
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program =
        profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.is_file(),
        "{} is not there: build it with `cargo build --examples`, as `cargo test` does without `--test`",
        program.display()
    );
    let mut command = Command::new(program);
    // Whoever runs the tests may want a log of them; these programs are to say what they always say.
    command
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a program wrote, and its exit status.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(status.is_some(), "a signal ended it: {stderr}");
        Self { status: status.unwrap(), stdout, stderr }
    }

    /// The verdict: the last line on standard error, without what the run used.
    pub(crate) fn verdict(&self) -> &str {
        let line = self.stderr.lines().last().unwrap_or_default();
        let (verdict, usage) = line.split_once(" (").unwrap_or((line, ""));
        assert!(usage.starts_with("wall ") && usage.ends_with(')'), "no verdict line: {self:?}");
        verdict
    }

    /// Standard output as JSON: one object, and nothing else.
    pub(crate) fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }
}

/// Runs `evaluate` with these arguments.
pub(crate) fn evaluate<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    Run::new(example("evaluate").args(arguments).output().unwrap())
}

/// Time by the clock that no program needs, however busy the machine is.
pub(crate) const AMPLE: &str = "40s";

/// Evaluates code under ample time, and these further arguments.
pub(crate) fn code(language: &str, code: &str, more: &[&str]) -> Run {
    evaluate(["--wall", AMPLE, "--language", language, "--code", code].iter().chain(more))
}
