//! What every Crucible backend must do, as suites that any backend can run: those of this workspace, and those of other
//! projects.
//!
//! A suite is a macro. It makes one `#[test]` for each case, so that none can be forgotten; a case is the
//! `# Behavior` bullet of a trait method, as code. Put this crate into the `dev-dependencies`, and in a test:
//!
//! ```
//! use crucible_conformance::bus_conformance;
//!
//! bus_conformance!(local_bus, || async { crucible_core::LocalBus::new() });
//! # fn main() {}
//! ```
//!
//! The first argument names the module of the tests; the second makes a fresh, empty subject for each of them. It runs
//! within a tokio runtime with several threads and all drivers, in which the case then runs too. A single case can be run
//! by hand:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let bus = std::sync::Arc::new(crucible_core::LocalBus::new());
//! crucible_conformance::bus::subscription_receives_only_later_events(bus).await;
//! # }
//! ```
//!
//! | suite | subject | cases |
//! | --- | --- | --- |
//! | [`queue_conformance!`] | [`Queue`](crucible_core::Queue) with a capacity of [`queue::CAPACITY`] | [`queue`] |
//! | [`storage_conformance!`] | [`Storage`](crucible_core::Storage) | [`storage`] |
//! | [`engine_conformance!`] | [`Engine`](crucible_core::Engine) | [`engine`] |
//! | [`bus_conformance!`] | [`EventBus`](crucible_core::EventBus) | [`bus`] |
//!
//! Engines can be attacked as well: [`attack`] has programs that try to get out, to lie and to harm others, each with a
//! control that shows its harm.
//!
//! # Core concepts
//!
//! - **Time is real.** Subjects may live on other hosts, so no clock is mocked. Leases and delays are a few hundred
//!   milliseconds, deadlines many seconds: a slow subject passes, one that hangs fails.
//!   `CRUCIBLE_TEST_SLOWNESS=5` allows five times as long, on machines that are emulated in software.
//! - **Subjects are fresh.** One that lives on a shared server needs a name of its own for each test.
//! - **What is not tested:** durability, which needs a restart; ageing, whose step is the queue's own.

#![deny(dead_code, reason = "a case that is in no suite's table is dead code, and would never run")]
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "this is test code, and a case fails by panicking"
)]

#[macro_use]
mod suite;

#[cfg(target_os = "linux")]
pub mod attack;
pub mod bus;
pub mod engine;
pub mod queue;
pub mod storage;

pub use suite::slowness;

#[doc(hidden)]
pub mod __private {
    pub use crate::suite::run;
}
