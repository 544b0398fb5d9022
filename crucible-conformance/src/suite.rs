//! What a suite is made of.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

/// No case takes longer. The longest sums of leases and delays are a few seconds; the rest is for slow machines.
const DEADLINE: Duration = Duration::from_secs(120);

/// How many times longer than usual everything may take that is no limit under test: `CRUCIBLE_TEST_SLOWNESS`, for
/// machines that are emulated in software. A test of a backend multiplies its deadlines by it.
///
/// # Panics
/// The variable is no number.
#[must_use]
pub fn slowness() -> u32 {
    match std::env::var("CRUCIBLE_TEST_SLOWNESS") {
        Ok(text) => text.parse().expect("`CRUCIBLE_TEST_SLOWNESS` is a number"),
        Err(_) => 1,
    }
}

/// Runs a case to its end in a runtime of its own.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the machine has threads for a runtime");
    let deadline = DEADLINE * slowness();
    let ended = runtime.block_on(async { timeout(deadline, case).await });
    // What a case left running is not waited for.
    runtime.shutdown_background();
    assert!(ended.is_ok(), "the case did not end within {deadline:?}");
}

/// Makes a suite of the cases that its table lists: makes them public, and defines the macro that makes a test of each.
///
/// The table is the only way by which a case becomes public, so a case that it forgets is dead code, and this crate does
/// not compile.
macro_rules! suite {
    (
        // The `$` of the macro that is defined: there is no other way yet to write one.
        $d:tt
        $(#[$doc:meta])*
        $suite:ident: $module:ident with dyn $subject:ident;
        $($part:ident: $($case:ident),+;)+
    ) => {
        $(mod $part; pub use $part::{$($case),+};)+

        $(#[$doc])*
        ///
        /// With `or skip` as a third argument the closure gives a `Result`: on an `Err` each test says `SKIPPED` with the reason,
        /// for backends that need what not every machine has. Where it has to be there, the closure panics instead.
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
                                    Ok(subject) => $d crate::$module::$case(::std::sync::Arc::new(subject)).await,
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
