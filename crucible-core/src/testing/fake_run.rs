//! The scripted behavior of one command.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::EngineError;
use crate::result::{Ending, Evidence};

/// The behavior that a [`FakeEngine`](super::FakeEngine) simulates for a command.
#[derive(Clone)]
pub struct FakeRun {
    pub(super) delay: Duration,
    pub(super) stdout: Bytes,
    pub(super) stderr: Bytes,
    pub(super) evidence: Vec<Evidence>,
    pub(super) error: Option<Arc<dyn Fn() -> EngineError + Send + Sync>>,
    pub(super) hangs: bool,
    pub(super) panics: bool,
}

impl FakeRun {
    /// Exits with this code immediately.
    #[must_use]
    pub fn exit(code: i32) -> Self {
        let waited = Evidence::Waited { ending: Ending::Exited { code }, after: Duration::ZERO };
        Self::evidence(vec![waited])
    }

    /// Ends with this evidence immediately.
    #[must_use]
    pub fn evidence(evidence: Vec<Evidence>) -> Self {
        Self {
            delay: Duration::ZERO,
            stdout: Bytes::new(),
            stderr: Bytes::new(),
            evidence,
            error: None,
            hangs: false,
            panics: false,
        }
    }

    /// Fails with the error that `error` returns.
    #[must_use]
    pub fn error(error: impl Fn() -> EngineError + Send + Sync + 'static) -> Self {
        Self { error: Some(Arc::new(error)), ..Self::exit(0) }
    }

    /// Runs until it is cancelled.
    #[must_use]
    pub fn hang() -> Self {
        Self { hangs: true, ..Self::exit(0) }
    }

    /// Panics.
    #[must_use]
    pub fn panic() -> Self {
        Self { panics: true, ..Self::exit(0) }
    }

    /// Sets the duration of the run.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets the standard output.
    #[must_use]
    pub fn with_stdout(mut self, bytes: impl Into<Bytes>) -> Self {
        self.stdout = bytes.into();
        self
    }

    /// Sets the standard error.
    #[must_use]
    pub fn with_stderr(mut self, bytes: impl Into<Bytes>) -> Self {
        self.stderr = bytes.into();
        self
    }
}

impl fmt::Debug for FakeRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRun").field("evidence", &self.evidence).finish_non_exhaustive()
    }
}
