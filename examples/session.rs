//! What an agent does: several commands in one sandbox, each depending on what the one before said.
//!
//! ```text
//! cargo run --release --example session
//! ```

use std::time::Duration;

use bytes::Bytes;
use crucible::{
    Command, Engine as _, ExecOptions, Limits, Sandbox, SandboxPath, SandboxSpec, SubprocessEngine,
};

/// A program with a bug, as a model might write it.
const FIRST_DRAFT: &str = "
def mean(numbers):
    return sum(numbers) / len(numbers)

if __name__ == '__main__':
    import sys
    print(mean([float(word) for word in sys.stdin.read().split()]))
";
/// And its second try.
const SECOND_DRAFT: &str = "
def mean(numbers):
    return sum(numbers) / len(numbers) if numbers else 0.0

if __name__ == '__main__':
    import sys
    print(mean([float(word) for word in sys.stdin.read().split()]))
";
/// What it is held against.
const TEST: &str = "
from mean import mean
assert mean([1, 2, 3]) == 2
assert mean([]) == 0, 'the mean of nothing'
print('all tests pass')
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = SubprocessEngine::new()?;
    let limits = Limits::new().with_wall(Duration::from_secs(5)).with_memory_bytes(128 << 20);
    let sandbox = engine.open(SandboxSpec::new().with_limits(limits)).await?;

    sandbox.write(&"test.py".try_into()?, TEST.into(), false).await?;
    for (turn, draft) in [FIRST_DRAFT, SECOND_DRAFT].into_iter().enumerate() {
        sandbox.write(&"mean.py".try_into()?, Bytes::from(draft), false).await?;
        let exit = sandbox.exec(&Command::new(["python3", "test.py"]), ExecOptions::new()).await?;
        println!("turn {}: {}", turn + 1, exit.verdict());
        // What a program says is shown as what it is: text that nobody trusts.
        let words = exit.stdout.to_text() + exit.stderr.to_text();
        let last = words.lines().last().unwrap_or_default();
        println!("        {}", last.escape_debug());
        if exit.verdict().is_success() {
            break;
        }
    }

    // A server in the background goes on between commands, and is gone with the sandbox.
    run(&*sandbox, "sleep 1000 & echo $! > pid").await?;
    run(&*sandbox, "kill -0 $(cat pid) && echo 'the server still runs'").await?;

    for entry in sandbox.list(&SandboxPath::root()).await?.entries {
        println!("        {} ({} bytes)", entry.display_name().escape_debug(), entry.size_bytes);
    }
    let usage = sandbox.close().await?;
    let memory = usage
        .memory_peak_bytes
        .map_or("?".to_owned(), |bytes| bytesize::ByteSize(bytes).to_string());
    println!("closed; cpu {:.1?}, memory {memory} at most", usage.cpu());
    Ok(())
}

async fn run(sandbox: &dyn Sandbox, script: &str) -> Result<(), Box<dyn std::error::Error>> {
    let exit = sandbox.exec(&Command::new(["sh", "-c", script]), ExecOptions::new()).await?;
    println!("{}: {}", exit.verdict(), exit.stdout.to_text().escape_debug());
    Ok(())
}
