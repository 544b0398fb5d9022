//! Tests of the host report.

use std::collections::BTreeSet;

use super::runs::without;
use crucible_core::{Engine as _, Layer};
use crucible_subprocess::doctor;

#[test]
fn report_has_a_line_for_every_layer() {
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
fn only_missing_layers_have_a_fix() {
    let report = doctor();
    for probe in &report.layers {
        assert_eq!(probe.available, probe.fix.is_empty(), "{report}");
        assert!(!probe.detail.is_empty(), "{report}");
    }
    assert_eq!(report.is_complete(), rustix::process::geteuid().is_root(), "{report}");
}

/// The engine of these tests has every available layer.
#[test]
fn engine_enforces_available_layers() {
    let report = doctor();
    let enforcement = without(&[]).info().enforcement;
    for probe in &report.layers {
        assert_eq!(probe.available, enforcement.enforces(probe.layer), "{}: {report}", probe.layer);
    }
}

#[test]
fn concurrent_reports_agree_beside_an_engine() {
    let engine = without(&[]);
    let reports: Vec<_> = (0..3).map(|_| std::thread::spawn(doctor)).collect();
    let reports: BTreeSet<_> =
        reports.into_iter().map(|report| report.join().unwrap().missing().count()).collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(super::runs::run(&engine, &crucible_core::Evaluation::command(["true"])).is_success());
}
