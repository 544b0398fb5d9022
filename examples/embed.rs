//! The host program of the README: everything an embedder needs.

use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, SubprocessEngine};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::builder()
        .engine("sandbox", SubprocessEngine::new()?)
        .queue(MemoryQueue::bounded(10_000))
        .storage(MemoryStorage::new())
        .build()?;
    let outcome = crucible.evaluate(Evaluation::python("print(6 * 7)")).await?;
    println!("{}: {}", outcome.verdict(), outcome.stdout.to_text());
    Ok(())
}
