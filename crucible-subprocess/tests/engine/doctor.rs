//! What the doctor says of this host, and that it is so.

use std::collections::BTreeSet;

use super::runs::without;
use crucible_core::{Engine as _, Layer};
use crucible_subprocess::doctor;

#[test]
fn every_layer_has_a_line() {
    let report = doctor();
    let layers: Vec<_> = report.layers.iter().map(|probe| probe.layer).collect();
    assert_eq!(layers.len(), Layer::ALL.len(), "{report}");
    assert_eq!(layers.iter().collect::<BTreeSet<_>>(), Layer::ALL.iter().collect(), "{report}");
    let text = report.to_string();
    for layer in Layer::ALL {
        assert!(text.contains(layer.name()), "{text}");
    }
    assert!(report.fact("kernel").is_some_and(|kernel| kernel.starts_with("Linux ")), "{text}");
    assert_eq!(report.engine, without(&[]).info().name);
}

#[test]
fn what_is_missing_has_a_fix_and_what_is_there_needs_none() {
    let report = doctor();
    for probe in &report.layers {
        assert_eq!(probe.available, probe.fix.is_empty(), "{report}");
        assert!(!probe.detail.is_empty(), "{report}");
    }
    assert_eq!(report.is_complete(), rustix::process::geteuid().is_root(), "{report}");
}

/// The engine of these tests has every layer that its user can have.
#[test]
fn an_engine_enforces_what_the_doctor_finds() {
    let report = doctor();
    let enforcement = without(&[]).info().enforcement;
    for probe in &report.layers {
        assert_eq!(probe.available, enforcement.enforces(probe.layer), "{}: {report}", probe.layer);
    }
}

#[test]
fn asking_leaves_nothing_and_may_be_done_at_any_time() {
    let engine = without(&[]);
    let reports: Vec<_> = (0..3).map(|_| std::thread::spawn(doctor)).collect();
    let reports: BTreeSet<_> =
        reports.into_iter().map(|report| report.join().unwrap().missing().count()).collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(super::runs::run(&engine, &crucible_core::Evaluation::command(["true"])).is_success());
}
