//! The macro that defines a suite, and the runner of a case.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

/// The deadline of a case. The leases and delays of a case add up to a few seconds; the rest is for
/// slow machines.
const DEADLINE: Duration = Duration::from_secs(120);

/// Returns the factor by which tests multiply deadlines that are not under test.
///
/// The factor is the variable `CRUCIBLE_TEST_SLOWNESS`, which is for emulated machines, or 1.
///
/// # Panics
/// Panics if the variable is not a number.
#[must_use]
pub fn slowness() -> u32 {
    match std::env::var("CRUCIBLE_TEST_SLOWNESS") {
        Ok(text) => text.parse().expect("`CRUCIBLE_TEST_SLOWNESS` is a number"),
        Err(_) => 1,
    }
}

/// Runs a case to its end in a new runtime.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the machine has threads for a runtime");
    let deadline = DEADLINE * slowness();
    let ended = runtime.block_on(async { timeout(deadline, case).await });
    // Tasks that a case left behind are abandoned.
    runtime.shutdown_background();
    assert!(ended.is_ok(), "the case did not end within {deadline:?}");
}

/// Defines a suite: re-exports the cases of its table, and defines the macro that generates a test
/// for each of them.
///
/// Only the table makes a case public. A case that is missing from it is dead code and fails the
/// build.
macro_rules! suite {
    (
        // The `$` of the inner macro. Stable Rust has no other way to write it.
        $d:tt
        $(#[$doc:meta])*
        $suite:ident: $module:ident with dyn $subject:ident;
        $($part:ident: $($case:ident),+;)+
    ) => {
        $(mod $part; pub use $part::{$($case),+};)+

        $(#[$doc])*
        ///
        /// With `or skip` as the third argument, the closure returns a `Result`. On an `Err` each
        /// test prints `SKIPPED` and the reason. This is for backends that need a service that not
        /// every machine has. The closure panics where the service is required.
        #[macro_export]
        macro_rules! $suite {
            ($d name:ident, $d make:expr, or skip) => {
                mod $d name {
                    use super::*;

                    $($(
                        #[test]
                        fn $case() {
                            $d crate::__private::run(async {
                                match ($d make)().await {
                                    Ok(subject) => {
                                        let subject = ::std::sync::Arc::new(subject);
                                        $d crate::$module::$case(subject).await
                                    }
                                    Err(reason) => ::std::eprintln!("SKIPPED: {reason}"),
                                }
                            });
                        }
                    )+)+
                }
            };
            ($d name:ident, $d make:expr) => {
                mod $d name {
                    use super::*;

                    $($(
                        #[test]
                        fn $case() {
                            $d crate::__private::run(async {
                                let subject = ::std::sync::Arc::new(($d make)().await);
                                $d crate::$module::$case(subject).await;
                            });
                        }
                    )+)+
                }
            };
        }
    };
}
