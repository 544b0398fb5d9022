//! Embeds Crucible in a host program: the program of the README.
//!
//! Run it with `cargo run --example embed`. It prints:
//!
//! ```text
//! exited 0: 42
//! ```

use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, SubprocessEngine};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::builder()
        .engine("sandbox", SubprocessEngine::new()?)
        .queue(MemoryQueue::bounded(10_000))
        .storage(MemoryStorage::new())
        .build()?;
    let outcome = crucible.evaluate(Evaluation::python("print(6 * 7)")).await?;
    // Guest output can contain terminal escape sequences: escape it before printing.
    println!("{}: {}", outcome.verdict(), outcome.stdout.to_text().trim_end().escape_debug());
    Ok(())
}
