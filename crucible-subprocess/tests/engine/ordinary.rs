//! Tests for an ordinary user: unavailable layers are refused by name with a fix, and can be
//! waived.

use std::collections::BTreeSet;

use super::runs::{printed, run};
use super::unprivileged_target::run_as_unprivileged_user;
use crucible_core::{EngineError, Evaluation, Layer, UnavailableMechanism};
use crucible_subprocess::{SubprocessEngine, doctor};

/// Runs the tests below and other tests in a process of an ordinary user.
#[test]
fn other_tests_pass_as_ordinary_user() {
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
    run_modules("others", &modules, 2);
}

/// Runs tests that count the objects of their process, one at a time.
#[test]
fn counting_tests_pass_as_ordinary_user() {
    run_modules("counted", &["egress::counted", "slots"], 1);
}

fn run_modules(name: &str, modules: &[&str], threads: usize) {
    let filters: Vec<String> = modules.iter().map(|module| format!("{module}::")).collect();
    run_as_unprivileged_user(name, &filters, threads);
}

/// Returns the mechanisms that this user lacks for an engine with every layer. Root lacks none.
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
fn missing_layers_are_refused_by_name_with_a_fix() {
    let missing = missing();
    if rustix::process::geteuid().is_root() {
        // Root has every layer. The rest of the test is for an ordinary user.
        assert_eq!(names(&missing), BTreeSet::new());
        return;
    }
    assert!(names(&missing).contains(&Layer::DedicatedUser), "{missing:?}");
    assert_eq!(names(&missing).len(), missing.len(), "each layer is in the error once");
    for UnavailableMechanism { layer, reason, fix, .. } in &missing {
        assert!(!reason.is_empty() && !fix.is_empty(), "{layer}: {reason:?}, {fix:?}");
    }
    let error = SubprocessEngine::new().unwrap_err().to_string();
    for UnavailableMechanism { layer, fix, .. } in &missing {
        assert!(error.contains(&format!("`{layer}`")) && error.contains(fix.as_str()), "{error}");
    }
}

#[test]
fn layer_without_waiver_is_still_refused() {
    let missing = names(&missing());
    for layer in &missing {
        let others = missing.iter().filter(|other| *other != layer);
        let builder =
            others.fold(SubprocessEngine::builder(), |builder, other| builder.waive(*other));
        match builder.build() {
            Err(EngineError::LayerUnavailable { missing }) => {
                assert_eq!(names(&missing), BTreeSet::from([*layer]));
            }
            other => panic!("without a waiver of `{layer}` the result is {other:?}"),
        }
    }
}

#[test]
fn programs_run_with_missing_layers_waived() {
    let missing = names(&missing());
    let builder =
        missing.iter().fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
    let outcome = run(&builder.build().unwrap(), &Evaluation::shell("id -u"));
    assert_eq!(printed(&outcome), "1000");
    assert_eq!(outcome.enforcement.waived().collect::<BTreeSet<_>>(), missing);
}

#[test]
fn doctor_and_engine_agree_on_missing_layers() {
    let report = doctor();
    assert_eq!(
        report.missing().map(|probe| probe.layer).collect::<BTreeSet<_>>(),
        names(&missing())
    );
}
