//! Implements a monitor: it counts the verdicts of each tenant.
//!
//! Run it with `cargo run --example custom_monitor`. It prints:
//!
//! ```text
//! alice: {"exited 0": 2, "exited 1": 1}
//! bob: {"signaled SIGSEGV": 1}
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crucible::journal::{Event, EventKind};
use crucible::model::EvaluationId;
use crucible::monitor::Monitor;
use crucible::{Crucible, Evaluation, MemoryQueue, MemoryStorage, SubprocessEngine};

/// The verdicts of each tenant.
#[derive(Debug, Default)]
struct TenantMonitor(Mutex<TenantCounts>);

#[derive(Debug, Default)]
struct TenantCounts {
    tenants: HashMap<EvaluationId, String>,
    verdicts: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Monitor for TenantMonitor {
    // The platform calls this for each event of this host. It must return immediately.
    fn observe(&self, event: &Event) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::Submitted { evaluation } => {
                counts.tenants.insert(event.evaluation, evaluation.tenant.clone());
            }
            EventKind::Finished { outcome } => {
                let tenant = counts.tenants.remove(&event.evaluation).unwrap_or_default();
                let verdicts = counts.verdicts.entry(tenant).or_default();
                *verdicts.entry(outcome.verdict().to_string()).or_default() += 1;
            }
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let monitor = Arc::new(TenantMonitor::default());
    let crucible = Crucible::builder()
        .engine("sandbox", SubprocessEngine::new()?)
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .monitor(Arc::clone(&monitor))
        .build()?;
    for (tenant, script) in
        [("alice", "exit 0"), ("alice", "exit 1"), ("bob", "kill -SEGV $$"), ("alice", "exit 0")]
    {
        crucible.evaluate(Evaluation::shell(script).with_tenant(tenant)).await?;
    }
    let counts = monitor.0.lock().unwrap_or_else(PoisonError::into_inner);
    for (tenant, verdicts) in &counts.verdicts {
        println!("{tenant}: {verdicts:?}");
    }
    Ok(())
}
