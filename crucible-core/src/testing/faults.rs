//! Plans for injected faults.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The effect on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call succeeds.
    None,
    /// The call fails before it has any effect.
    Before,
    /// The call has its effect and then fails, as if its answer was lost.
    After,
    /// The call runs after a pause.
    Late(Duration),
}

/// The error of a call with an injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("injected fault in call {call}")]
#[non_exhaustive]
pub struct InjectedFault {
    /// The number of the call, counted from 1.
    pub call: u64,
}

type FaultPlan = dyn Fn(u64) -> Fault + Send + Sync;

/// A plan that assigns a fault to each call by its number. Clones share one count.
#[derive(Clone)]
pub struct Faults {
    calls: Arc<AtomicU64>,
    plan: Arc<FaultPlan>,
}

impl Faults {
    /// Injects the fault that `plan` returns for the number of a call, counted from 1.
    #[must_use]
    pub fn planned(plan: impl Fn(u64) -> Fault + Send + Sync + 'static) -> Self {
        Self { calls: Arc::default(), plan: Arc::new(plan) }
    }

    /// Injects no fault.
    #[must_use]
    pub fn none() -> Self {
        Self::planned(|_| Fault::None)
    }

    /// Injects a fault only into the call with this number, counted from 1.
    #[must_use]
    pub fn nth(call: u64, fault: Fault) -> Self {
        Self::planned(move |number| if number == call { fault } else { Fault::None })
    }

    /// Injects a fault into the first `calls` calls.
    #[must_use]
    pub fn first(calls: u64, fault: Fault) -> Self {
        Self::planned(move |number| if number <= calls { fault } else { Fault::None })
    }

    /// Injects a fault into every call.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self::planned(move |_| fault)
    }

    /// Injects faults of all kinds into about one of `one_in` calls. The seed determines them.
    #[must_use]
    pub fn seeded(seed: u64, one_in: u64) -> Self {
        Self::planned(move |number| {
            let random = mix(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            if !random.is_multiple_of(one_in.max(1)) {
                return Fault::None;
            }
            match (random >> 32) % 3 {
                0 => Fault::Before,
                1 => Fault::After,
                _ => Fault::Late(Duration::from_micros((random >> 40) % 3000)),
            }
        })
    }

    /// Returns the number of calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Makes a call according to the plan. `fail` converts an injected fault to the caller's error.
    pub(super) async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>> + Send,
        fail: impl FnOnce(InjectedFault) -> E + Send,
    ) -> Result<T, E> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let injected = InjectedFault { call: number };
        match (self.plan)(number) {
            Fault::None => call.await,
            Fault::Before => Err(fail(injected)),
            Fault::After => match call.await {
                Ok(_) => Err(fail(injected)),
                Err(error) => Err(error),
            },
            Fault::Late(pause) => {
                tokio::time::sleep(pause).await;
                call.await
            }
        }
    }
}

/// Returns the `SplitMix64` finalizer of a number: each result bit depends on each input bit.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("calls", &self.calls()).finish_non_exhaustive()
    }
}
