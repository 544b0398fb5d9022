//! The whole platform over an engine without work.

use std::hint::black_box;

use crucible_core::Crucible;
use crucible_queue::MemoryQueue;
use crucible_storage::MemoryStorage;
use tokio::runtime::{Builder, Runtime};

use super::{Step, sample};
use crate::noop_engine::NoopEngine;

/// A fixed number of workers, so that counts do not depend on the machine.
const WORKERS: usize = 4;
/// The number of evaluations that are submitted together.
const AT_ONCE: usize = 16;

/// Creates a runtime with one thread, so that the order is the same in every run.
pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

pub(super) fn evaluate(_: usize) -> Step {
    let runtime = runtime();
    let (platform, evaluation) = (platform(&runtime), sample::evaluation());
    Box::new(move || {
        black_box(runtime.block_on(platform.evaluate(evaluation.clone())).expect("an outcome"));
    })
}

pub(super) fn evaluate_many(_: usize) -> Step {
    let runtime = runtime();
    let (platform, evaluation) = (platform(&runtime), sample::evaluation());
    Box::new(move || {
        runtime.block_on(async {
            let mut handles = Vec::with_capacity(AT_ONCE);
            for _ in 0..AT_ONCE {
                handles.push(
                    platform.submit(evaluation.clone()).await.expect("the evaluation is accepted"),
                );
            }
            for handle in handles {
                black_box(handle.outcome().await.expect("an outcome"));
            }
        });
    })
}

fn platform(runtime: &Runtime) -> Crucible {
    let _inside = runtime.enter();
    let outcome = sample::outcome();
    Crucible::builder()
        .engine("only", NoopEngine { outcome })
        .queue(MemoryQueue::bounded(100))
        .storage(MemoryStorage::new())
        .workers(WORKERS)
        .build()
        .expect("a platform")
}
