//! Implements an engine: a wrapper that enforces the rules of one host on another engine.
//!
//! Run it with `cargo run --example custom_engine`. It prints:
//!
//! ```text
//! 8 MiB: exited 0
//! 1 GiB: limit_exceeded memory
//! allow-list: engine `restricted` refuses the evaluation
//! ```

use async_trait::async_trait;
use crucible::engine::{EngineError, EngineInfo};
use crucible::model::Endpoint;
use crucible::{
    Crucible, Engine, Evaluation, MemoryQueue, MemoryStorage, Network, Sandbox, SandboxSpec,
    SubprocessEngine,
};

/// The maximum memory that a sandbox gets, whatever the evaluation asks for.
const MAX_MEMORY: u64 = 64 << 20;

/// An engine without networks, and with bounded memory.
#[derive(Debug)]
struct RestrictedEngine<E>(E);

#[async_trait]
impl<E: Engine> Engine for RestrictedEngine<E> {
    fn info(&self) -> EngineInfo {
        // An engine states what it does. The platform refuses evaluations that need more.
        EngineInfo::new("restricted", self.0.info().enforcement)
    }

    async fn open(&self, mut spec: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        // The default implementation of `run` opens its sandboxes through this method.
        self.info().admit(&spec.isolation, &spec.network)?;
        spec.limits.memory_bytes = spec.limits.memory_bytes.min(MAX_MEMORY);
        self.0.open(spec).await
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.0.health().await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::builder()
        .engine("restricted", RestrictedEngine(SubprocessEngine::new()?))
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .build()?;
    for (name, bytes) in [("8 MiB", 8 << 20), ("1 GiB", 1 << 30)] {
        let source = format!("x = bytearray({bytes})\nfor i in range(0, len(x), 4096): x[i] = 1");
        let outcome = crucible.evaluate(Evaluation::python(source)).await?;
        println!("{name}: {}", outcome.verdict());
    }
    let network = Network::Allow(vec![Endpoint::new("pypi.org", 443)]);
    let refused = crucible.evaluate(Evaluation::python("").with_network(network)).await;
    if let Err(error) = refused {
        println!("allow-list: {error}");
    }
    Ok(())
}
