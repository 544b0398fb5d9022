//! The builder of a platform.

use std::collections::BTreeSet;
use std::time::Duration;

use crucible_core::testing::FakeEngine;
use crucible_core::{Command, Crucible, Language, SandboxPath};

use crate::support::TestPlatform;

fn fields(error: &crucible_core::BuildError) -> Vec<&str> {
    error.problems().iter().map(|problem| problem.field.as_str()).collect()
}

#[test]
fn build_reports_every_problem() {
    let error = Crucible::builder()
        .engine("", FakeEngine::new())
        .engine("a", FakeEngine::new())
        .engine("a", FakeEngine::new())
        .workers(0)
        .lease(Duration::from_millis(9))
        .max_expired_leases(0)
        .host("")
        .language(Language::new("none", SandboxPath::root(), Command::new(["true"])))
        .build()
        .unwrap_err();
    let expected = [
        "language.none.file",
        "engine",
        "engine",
        "queue",
        "storage",
        "workers",
        "lease",
        "max_expired_leases",
        "host",
        "runtime",
    ];
    assert_eq!(fields(&error).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    assert_eq!(error.problems().len(), expected.len(), "{error}");
    let text = error.to_string();
    assert!(error.problems().iter().all(|problem| text.contains(&problem.to_string())), "{text}");
}

#[test]
fn build_names_missing_parts() {
    let error = Crucible::builder().build().unwrap_err();
    assert_eq!(fields(&error), ["engine", "queue", "storage", "runtime"]);
}

#[test]
fn build_outside_a_runtime_fails() {
    assert_eq!(fields(&TestPlatform::new().builder().build().unwrap_err()), ["runtime"]);
}

#[tokio::test(start_paused = true)]
async fn limits_at_their_bounds_are_accepted() {
    let test = TestPlatform::new();
    let day = Duration::from_secs(24 * 60 * 60);
    for lease in [Duration::from_millis(10), day] {
        test.builder().workers(1).lease(lease).max_expired_leases(1).host("h").build().unwrap();
    }
    let error =
        test.builder().workers(4097).lease(day * 2).host("h".repeat(201)).build().unwrap_err();
    assert_eq!(fields(&error), ["workers", "lease", "host"]);
}

#[tokio::test(start_paused = true)]
async fn accessors_return_the_built_parts() {
    let test = TestPlatform::new();
    let crucible = test.builder().engine("second", FakeEngine::new()).workers(3).build().unwrap();
    assert_eq!(crucible.engine_names().collect::<Vec<_>>(), ["fake", "second"]);
    assert!(crucible.engine(Some("second")).is_some() && crucible.engine(Some("third")).is_none());
    assert!(crucible.languages().get("python").is_some());
    let stats = crucible.stats().await.unwrap();
    assert_eq!((stats.workers, stats.running, stats.queue.depth()), (3, 0, 0));
    let sandbox = crucible.open(crucible_core::SandboxSpec::new()).await.unwrap();
    assert_eq!(test.engine.open_now(), 1);
    sandbox.close().await.unwrap();
    assert_eq!(test.engine.open_now(), 0);
}
