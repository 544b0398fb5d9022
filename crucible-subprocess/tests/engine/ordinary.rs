//! What an ordinary user gets: a refusal by name, with a fix for each layer; and sandboxes, once those are waived.

use std::collections::BTreeSet;

use super::runs::{printed, run};
use super::unprivileged_target::run_as_unprivileged_user;
use crucible_core::{EngineError, Evaluation, Layer, UnavailableMechanism};
use crucible_subprocess::{SubprocessEngine, doctor};

/// The tests below, and those of other files that hold for everybody, by a process of an ordinary user.
#[test]
fn the_other_tests_as_an_ordinary_user() {
    let modules = [
        "ordinary",
        "waivers",
        "layers",
        "groups",
        "root_fs",
        "doctor",
        "descriptors",
        "small_memory",
        "attacks",
        "violations",
        "cgroups",
        "switched_off",
        "egress::bounds",
        "egress::policy",
        "egress::reach",
        "egress::refused",
    ];
    as_an_ordinary_user("others", &modules, 2);
}

/// Those that count what their process has, or look for its children, one at a time.
#[test]
fn tests_that_count_as_an_ordinary_user() {
    as_an_ordinary_user("counted", &["egress::counted", "slots"], 1);
}

fn as_an_ordinary_user(name: &str, modules: &[&str], threads: usize) {
    let filters: Vec<String> = modules.iter().map(|module| format!("{module}::")).collect();
    run_as_unprivileged_user(name, &filters, threads);
}

/// What an engine with every layer lacks for this user: nothing, for root.
fn missing() -> Vec<UnavailableMechanism> {
    match SubprocessEngine::new() {
        Ok(_) => Vec::new(),
        Err(EngineError::LayerUnavailable { missing }) => missing,
        Err(error) => panic!("{}", crucible_core::error_chain(&error)),
    }
}

fn names(missing: &[UnavailableMechanism]) -> BTreeSet<Layer> {
    missing.iter().map(|missing| missing.layer).collect()
}

#[test]
fn what_is_missing_is_refused_by_name_with_a_fix() {
    let missing = missing();
    if rustix::process::geteuid().is_root() {
        // Root has everything; the rest of this test is for those who have not.
        assert_eq!(names(&missing), BTreeSet::new());
        return;
    }
    assert!(names(&missing).contains(&Layer::DedicatedUser), "{missing:?}");
    assert_eq!(names(&missing).len(), missing.len(), "each is named once");
    for UnavailableMechanism { layer, reason, fix, .. } in &missing {
        assert!(!reason.is_empty() && !fix.is_empty(), "{layer}: {reason:?}, {fix:?}");
    }
    let error = SubprocessEngine::new().unwrap_err().to_string();
    for UnavailableMechanism { layer, fix, .. } in &missing {
        assert!(error.contains(&format!("`{layer}`")) && error.contains(fix.as_str()), "{error}");
    }
}

#[test]
fn what_is_not_waived_is_still_missing() {
    let missing = names(&missing());
    for layer in &missing {
        let others = missing.iter().filter(|other| *other != layer);
        let builder =
            others.fold(SubprocessEngine::builder(), |builder, other| builder.waive(*other));
        match builder.build() {
            Err(EngineError::LayerUnavailable { missing }) => {
                assert_eq!(names(&missing), BTreeSet::from([*layer]));
            }
            other => panic!("without `{layer}` there is {other:?}"),
        }
    }
}

#[test]
fn with_what_is_missing_waived_programs_run() {
    let missing = names(&missing());
    let builder =
        missing.iter().fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
    let outcome = run(&builder.build().unwrap(), &Evaluation::shell("id -u"));
    assert_eq!(printed(&outcome), "1000");
    assert_eq!(outcome.enforcement.waived().collect::<BTreeSet<_>>(), missing);
}

#[test]
fn the_doctor_misses_what_the_engine_misses() {
    let report = doctor();
    assert_eq!(
        report.missing().map(|probe| probe.layer).collect::<BTreeSet<_>>(),
        names(&missing())
    );
}
