//! Runs several commands in one sandbox, as an agent does: each step depends on the one before.
//!
//! Run it with `cargo run --example session`. It prints:
//!
//! ```text
//! draft 1: exited 1: ZeroDivisionError: division by zero
//! draft 2: exited 0: all tests pass
//! background process: exited 0: still running
//! files: mean.py, pid, test.py
//! closed
//! ```

use crucible::engine::{ExecOptions, ExecOutcome};
use crucible::model::{Command, SandboxPath};
use crucible::{Engine as _, Limits, Sandbox, SandboxSpec, SubprocessEngine};

const DRAFT_1: &str = "def mean(numbers): return sum(numbers) / len(numbers)";
const DRAFT_2: &str = "def mean(numbers): return sum(numbers) / len(numbers) if numbers else 0";
const TEST: &str = "
from mean import mean
assert mean([1, 2, 3]) == 2
assert mean([]) == 0
print('all tests pass')
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = SubprocessEngine::new()?;
    let limits = Limits::new().with_memory_bytes(128 << 20);
    let sandbox = engine.open(SandboxSpec::new().with_limits(limits)).await?;

    sandbox.write(&"test.py".try_into()?, TEST.into(), false).await?;
    for (number, draft) in [DRAFT_1, DRAFT_2].into_iter().enumerate() {
        sandbox.write(&"mean.py".try_into()?, draft.into(), false).await?;
        let outcome = exec(&*sandbox, "python3 -B test.py").await?;
        println!("draft {}: {}", number + 1, summary(&outcome));
    }

    // A background process lives until the sandbox is closed.
    exec(&*sandbox, "sleep 1000 & echo $! > pid").await?;
    let outcome = exec(&*sandbox, "kill -0 $(cat pid) && echo still running").await?;
    println!("background process: {}", summary(&outcome));

    let listing = sandbox.list(&SandboxPath::root()).await?;
    let mut names: Vec<_> = listing.entries.iter().map(|entry| entry.display_name()).collect();
    names.sort();
    println!("files: {}", names.join(", ").escape_debug());
    sandbox.close().await?;
    println!("closed");
    Ok(())
}

/// Runs a shell command.
async fn exec(
    sandbox: &dyn Sandbox,
    script: &str,
) -> Result<ExecOutcome, Box<dyn std::error::Error>> {
    Ok(sandbox.exec(&Command::new(["sh", "-c", script]), ExecOptions::new()).await?)
}

/// Returns the verdict and the last line of the output.
fn summary(outcome: &ExecOutcome) -> String {
    let output = outcome.stdout.to_text() + outcome.stderr.to_text();
    let last = output.lines().last().unwrap_or_default();
    format!("{}: {}", outcome.verdict(), last.escape_debug())
}
