//! Keeps evaluations in a directory, so that they survive the end of the host program.
//!
//! Run it with `cargo run --example durable`. It prints:
//!
//! ```text
//! first host: accepted
//! second host: exited 0: 42
//! second host: the same key has the same evaluation
//! journal: 3 entries, verified
//! ```

use std::path::Path;
use std::time::Duration;

use crucible::storage::DataDirectory;
use crucible::{Crucible, Evaluation, SubprocessEngine};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    // The key identifies the evaluation: a submission that is repeated after a crash runs once.
    let evaluation = Evaluation::python("print(6 * 7)").with_idempotency_key("exercise 1, alice");

    let (first, open) = start(&data).await?;
    let id = first.submit(evaluation.clone()).await?.id();
    println!("first host: accepted");
    first.shutdown(Duration::from_secs(60)).await;
    drop(first);
    // One process at a time has the directory open.
    open.close().await?;

    let (second, _open) = start(&data).await?;
    let outcome = second.handle(id).outcome().await?;
    let output = outcome.stdout.to_text();
    println!("second host: {}: {}", outcome.verdict(), output.trim_end().escape_debug());
    assert_eq!(second.submit(evaluation).await?.id(), id);
    println!("second host: the same key has the same evaluation");

    let report = second.verify().await?;
    let result = if report.is_sound() { "verified" } else { "corrupt" };
    println!("journal: {} entries, {result}", report.entries);
    second.shutdown(Duration::ZERO).await;
    Ok(())
}

/// Starts a platform on a directory. `Crucible::embedded` does the same in one call.
async fn start(path: &Path) -> Result<(Crucible, DataDirectory), Box<dyn std::error::Error>> {
    let directory = DataDirectory::open(path).await?;
    let crucible = Crucible::builder()
        .engine("sandbox", SubprocessEngine::new()?)
        .storage(directory.storage())
        .queue(directory.queue())
        .build()?;
    // Resumes the evaluations that an earlier host accepted and did not finish.
    crucible.recover().await?;
    Ok((crucible, directory))
}
