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
    // A program that nobody trusts must not write to a terminal: it could obey.
    println!("{}: {}", outcome.verdict(), outcome.stdout.to_text().trim_end().escape_debug());
    Ok(())
}
