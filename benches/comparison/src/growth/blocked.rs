//! Platforms whose only worker is blocked, so that evaluations stay queued.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crucible::queue::Queue;
use crucible::storage::Storage;
use crucible::{Crucible, Evaluation, Handle};
use crucible_core::testing::{FakeEngine, FakeRun};

/// A platform over an engine without work. The first evaluation occupies its only worker.
pub(super) struct Blocked {
    platform: Crucible,
    first: Handle,
    is_free: Arc<AtomicBool>,
}

impl Blocked {
    pub(super) async fn new(queue: impl Queue, storage: impl Storage) -> Self {
        let is_free = Arc::new(AtomicBool::new(false));
        let script = {
            let is_free = Arc::clone(&is_free);
            move |_: &_| {
                if is_free.load(Ordering::Acquire) { FakeRun::exit(0) } else { FakeRun::hang() }
            }
        };
        let builder = Crucible::builder().engine("only", FakeEngine::scripted(script)).workers(1);
        let platform = builder.queue(queue).storage(storage).build().expect("a platform");
        let first = platform.submit(evaluation()).await.expect("it is taken");
        while platform.stats().await.expect("figures").running == 0 {
            tokio::task::yield_now().await;
        }
        Self { platform, first, is_free }
    }

    /// Submits an evaluation, which stays queued.
    pub(super) async fn submit(&self) -> Handle {
        self.platform.submit(evaluation()).await.expect("it is taken")
    }

    /// Releases the worker and waits until the last queued evaluation has ended.
    pub(super) async fn drain(&self, last: &Handle) {
        self.is_free.store(true, Ordering::Release);
        self.first.cancel().await.expect("the first evaluation is cancelled");
        assert!(
            last.outcome().await.expect("an outcome").is_success(),
            "the last evaluation failed"
        );
    }
}

fn evaluation() -> Evaluation {
    Evaluation::python("print(6 * 7)")
}
