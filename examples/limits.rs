//! Limits time, memory, processes and output, and shows the verdict of each limit.
//!
//! Run it with `cargo run --example limits`. It prints:
//!
//! ```text
//! endless loop: limit_exceeded cpu
//! endless sleep: limit_exceeded wall
//! 1 GiB: limit_exceeded memory
//! fork bomb: limit_exceeded processes
//! endless output: limit_exceeded output
//! exit code 137: exited 137
//! ```

use std::time::Duration;

use crucible::blocking::Crucible;
use crucible::{Evaluation, Limits};

const ALLOCATE: &str = "x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1";
const FORK: &str = "import os\ntry:\n    while True: os.fork()\nexcept OSError: pass";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::new()?;
    let limits = Limits::new()
        .with_wall(Duration::from_secs(60))
        .with_cpu(Duration::from_secs(1))
        .with_memory_bytes(128 << 20)
        .with_processes(32)
        .with_output_bytes(1 << 20);
    let short = limits.clone().with_wall(Duration::from_millis(500));
    for (name, evaluation, limits) in [
        ("endless loop", Evaluation::shell("while :; do :; done"), &limits),
        ("endless sleep", Evaluation::shell("sleep 1000"), &short),
        ("1 GiB", Evaluation::python(ALLOCATE), &limits),
        ("fork bomb", Evaluation::python(FORK), &limits),
        ("endless output", Evaluation::shell("yes"), &limits),
        // A verdict comes from the kernel's counters. The value of an exit code proves nothing.
        ("exit code 137", Evaluation::shell("exit 137"), &limits),
    ] {
        let outcome = crucible.evaluate(evaluation.with_limits(limits.clone()))?;
        println!("{name}: {}", outcome.verdict());
    }
    Ok(())
}
