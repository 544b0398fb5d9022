//! Runs a program in a container. Prints SKIPPED and the reason if no daemon answers.
//!
//! Prepare it with `ci/docker start && ci/docker image`, which starts a daemon and builds an image
//! from files of this machine. To use another image with Python, set `CRUCIBLE_IMAGE`.
//! Run it with `cargo run --features docker --example docker`. It prints:
//!
//! ```text
//! engine: docker
//! exited 0: 42
//! limit_exceeded memory
//! ```

use crucible::docker::DockerEngine;
use crucible::model::error_chain;
use crucible::{Crucible, Evaluation, Limits, MemoryQueue, MemoryStorage};

const ALLOCATE: &str = "x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = std::env::var("CRUCIBLE_IMAGE").unwrap_or("crucible-local:latest".to_owned());
    let engine = match DockerEngine::builder().image(image).build().await {
        Ok(engine) => engine,
        Err(error) => {
            println!("SKIPPED: {}", error_chain(&error).escape_debug());
            return Ok(());
        }
    };
    let crucible = Crucible::builder()
        .engine("containers", engine)
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .build()?;
    let outcome = crucible.evaluate(Evaluation::python("print(6 * 7)")).await?;
    println!("engine: {}", outcome.engine);
    println!("{}: {}", outcome.verdict(), outcome.stdout.to_text().trim_end().escape_debug());
    let limits = Limits::new().with_memory_bytes(128 << 20);
    let outcome = crucible.evaluate(Evaluation::python(ALLOCATE).with_limits(limits)).await?;
    println!("{}", outcome.verdict());
    Ok(())
}
