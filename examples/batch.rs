//! Runs many programs in parallel, with a bounded queue, priorities and labels.
//!
//! Run it with `cargo run --example batch`. It prints:
//!
//! ```text
//! submission 0: exited 0
//! submission 1: exited 1
//! submission 2: exited 2
//! submission 3: exited 0
//! submission 4: exited 1
//! submission 5: exited 2
//! finished: 6, failed: 4
//! ```

use crucible::journal::RecordState;
use crucible::model::Priority;
use crucible::storage::RecordQuery;
use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, SubprocessEngine};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::builder()
        .engine("sandbox", SubprocessEngine::new()?)
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .workers(2)
        .build()?;
    // Submitting to a full queue is an error, so the host knows when to wait.
    let submissions = (0..6).map(|number| {
        Evaluation::shell(format!("exit {}", number % 3))
            .with_label("submission", number.to_string())
            .with_priority(Priority::High)
    });
    let mut handles = Vec::new();
    for submission in submissions {
        handles.push(crucible.submit(submission).await?);
    }
    for (number, handle) in handles.iter().enumerate() {
        println!("submission {number}: {}", handle.outcome().await?.verdict());
    }
    let finished = RecordQuery::new().with_state(RecordState::Finished);
    let page = crucible.records(&finished).await?;
    let outcomes = page.records.iter().filter_map(|record| record.outcome.as_ref());
    let failed = outcomes.filter(|outcome| !outcome.is_success()).count();
    println!("finished: {}, failed: {failed}", page.records.len());
    Ok(())
}
