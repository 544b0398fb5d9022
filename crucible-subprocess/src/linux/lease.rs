//! What a sandbox holds of the host before there is one.

use std::sync::Arc;

use super::engine::Inner;
use super::holdings::Holdings;
use super::janitor::Remains;

/// What a sandbox holds of the host, before there is a sandbox. Dropped, it is given back.
pub(super) struct Lease {
    inner: Arc<Inner>,
    holdings: Option<Holdings>,
}

impl Lease {
    pub(super) fn new(inner: &Arc<Inner>, holdings: Holdings) -> Self {
        Self { inner: Arc::clone(inner), holdings: Some(holdings) }
    }

    /// What was leased.
    pub(super) fn holdings(&self) -> Option<&Holdings> {
        self.holdings.as_ref()
    }

    /// Hands what was leased over to a sandbox, which gives it back from now on.
    pub(super) fn into_holdings(mut self) -> Option<Holdings> {
        self.holdings.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(holdings) = self.holdings.take() {
            self.inner.bury(Remains::of_nobody(holdings));
        }
    }
}
