//! Conformance suites for Crucible backends, in this workspace and in other projects.
//!
//! A suite is a macro. It generates one `#[test]` for each case, so that no case can be omitted. A
//! case tests one `# Behavior` bullet of a trait method. Add this crate to the `dev-dependencies`,
//! and call the macro in a test:
//!
//! ```
//! use crucible_conformance::bus_conformance;
//!
//! bus_conformance!(local_bus, || async { crucible_core::LocalBus::new() });
//! # fn main() {}
//! ```
//!
//! The first argument names the module of the tests. The second argument is a closure that creates
//! a new, empty subject for each test. The closure and the case run in a multi-threaded tokio
//! runtime with all drivers. A single case is an ordinary function:
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
//! The module [`attack`] has programs that try to escape, to deceive, and to harm others. Each has
//! a control that shows its harm.
//!
//! # Core concepts
//!
//! - **Real time.** Subjects can live on other hosts, so that no clock is mocked. Leases and delays
//!   take a few hundred milliseconds, and deadlines many seconds. A slow subject passes; a subject
//!   that hangs fails. `CRUCIBLE_TEST_SLOWNESS=5` multiplies deadlines by five, for emulated
//!   machines.
//! - **New subjects.** A subject on a shared server needs its own name for each test.
//! - **Not tested:** durability, which needs a restart, and ageing, because each queue chooses
//!   its own step.

#![deny(
    dead_code,
    reason = "a case that is missing from its suite's table is dead code and would never run"
)]
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code))))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "this is test code, and a case fails by panicking"
)]

#[cfg(feature = "suites")]
#[macro_use]
mod suite;

#[cfg(target_os = "linux")]
pub mod attack;
#[cfg(feature = "suites")]
pub mod bus;
#[cfg(feature = "suites")]
pub mod engine;
#[cfg(feature = "suites")]
pub mod queue;
#[cfg(feature = "suites")]
pub mod storage;

#[cfg(feature = "suites")]
pub use suite::slowness;

#[cfg(feature = "suites")]
#[doc(hidden)]
pub mod __private {
    pub use crate::suite::run;
}
