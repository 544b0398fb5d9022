//! Runs every example and compares its standard output with the block in its own documentation.

#![cfg(all(feature = "subprocess", feature = "memory", feature = "durable", feature = "docker"))]
#![expect(clippy::unwrap_used, reason = "test helpers panic as the tests themselves do")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns a path in the repository.
fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the source of an example.
fn source(name: &str) -> String {
    std::fs::read_to_string(in_repository(&format!("examples/{name}.rs"))).unwrap()
}

/// Returns the output that the documentation of an example promises.
fn expected_output(name: &str) -> String {
    let source = source(name);
    let (_, block) = source.split_once("//! ```text\n").unwrap();
    let (block, _) = block.split_once("//! ```\n").unwrap();
    block.lines().map(|line| format!("{}\n", line.trim_start_matches("//! "))).collect()
}

/// Runs an example and returns its standard output.
fn run(name: &str) -> String {
    // Tests are in `target/<profile>/deps`, examples in `target/<profile>/examples`.
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program =
        profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.is_file(),
        "{} does not exist\nfix: build it with `cargo build --examples --all-features`",
        program.display()
    );
    let output = Command::new(program).stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(output.status.success() && stderr.is_empty(), "{name}: {stdout}{stderr}");
    stdout
}

/// Makes a test for each example, and a list of their names.
macro_rules! examples {
    ($($name:ident),* $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                let (name, output) = (stringify!($name), run(stringify!($name)));
                if let Some(reason) = output.strip_prefix("SKIPPED: ") {
                    assert_eq!(name, "docker", "only the container example may be skipped");
                    assert!(std::env::var_os("CI").is_none(), "no daemon in CI: {reason}");
                    eprintln!("SKIPPED: {reason}");
                    return;
                }
                assert_eq!(output, expected_output(name));
            }
        )*
    };
}

examples!(
    batch,
    custom_engine,
    custom_monitor,
    docker,
    durable,
    embed,
    files,
    limits,
    live_output,
    network,
    secrets,
    session,
);

#[test]
fn every_example_has_a_test_and_is_short() {
    let mut files: Vec<String> = std::fs::read_dir(in_repository("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    files.sort();
    assert_eq!(files, NAMES);
    for name in NAMES {
        assert!(source(name).lines().count() <= 100, "{name} has more than 100 lines");
    }
}

#[test]
fn readme_shows_the_embed_example() {
    let readme = std::fs::read_to_string(in_repository("README.md")).unwrap();
    let (_, block) = readme.split_once("```rust\n").unwrap();
    let (shown, _) = block.split_once("\n```").unwrap();
    let source = source("embed");
    let lines: Vec<&str> = source.lines().filter(|line| !line.starts_with("//!")).collect();
    assert_eq!(shown.trim(), lines.join("\n").trim());
}
