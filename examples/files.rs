//! Gives a program input files and standard input, and collects the files that it writes.
//!
//! Run it with `cargo run --example files`. It prints:
//!
//! ```text
//! exited 0
//! collected out/report.txt: 3 words, 14 bytes
//! skipped out/link: not a regular file
//! ```

use crucible::Evaluation;
use crucible::blocking::Crucible;
use crucible::model::Collect;

const PROGRAM: &str = r#"
import os, sys
text = open("data/words.txt").read() + sys.stdin.read()
os.mkdir("out")
with open("out/report.txt", "w") as report:
    report.write(f"{len(text.split())} words, {len(text)} bytes")
# A symbolic link could lead to a file of the host. It is never followed.
os.symlink("/etc/passwd", "out/link")
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::new()?;
    let evaluation = Evaluation::python(PROGRAM)
        .with_file("data/words.txt", "one\ntwo\n")
        .with_stdin("three\n")
        .with_collect(Collect::matching(["out/*"]));
    let outcome = crucible.evaluate(evaluation)?;
    println!("{}", outcome.verdict());
    for artifact in &outcome.artifacts {
        let content = artifact.content.clone().unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        println!("collected {}: {}", artifact.path, text.escape_debug());
    }
    for skipped in &outcome.skipped {
        println!("skipped {}: {}", skipped.path.escape_debug(), skipped.reason);
    }
    Ok(())
}
