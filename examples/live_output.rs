//! Prints the output of a program while it runs, and waits for its outcome.
//!
//! Run it with `cargo run --example live_output`. It prints:
//!
//! ```text
//! stdout: step 1
//! stdout: step 2
//! stdout: step 3
//! exited 0: 21 bytes
//! ```

use crucible::platform::SubmitOptions;
use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, SubprocessEngine};
use tokio::sync::mpsc;

const PROGRAM: &str = "for i in 1 2 3; do echo step $i; sleep 0.1; done";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::builder()
        .engine("sandbox", SubprocessEngine::new()?)
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .build()?;
    // The channel is bounded: a slow reader slows the program down instead of filling memory.
    let (sender, mut chunks) = mpsc::channel(16);
    let options = SubmitOptions::new().with_output(sender);
    let handle = crucible.submit_with(Evaluation::shell(PROGRAM), options).await?;
    // The channel ends when the program has ended. A chunk is not always a line.
    while let Some(chunk) = chunks.recv().await {
        for line in String::from_utf8_lossy(&chunk.bytes).lines() {
            println!("{}: {}", chunk.stream, line.escape_debug());
        }
    }
    let outcome = handle.outcome().await?;
    println!("{}: {} bytes", outcome.verdict(), outcome.stdout.total_bytes);
    Ok(())
}
