//! The attack suite on this engine.

use std::sync::Arc;

use crucible_conformance::attack::{AttackStatus, AttackSuite};
use crucible_core::{Engine, EngineError, Layer};
use crucible_subprocess::SubprocessEngine;

use super::support::unavailable_layers;

/// Creates an engine with every available layer except these.
fn engine_without(without: &[Layer]) -> Result<Arc<dyn Engine>, EngineError> {
    let layers = without.iter().chain(unavailable_layers());
    let builder = layers.fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
    Ok(Arc::new(builder.build()?))
}

#[test]
fn every_attack_is_blocked_and_every_control_does_harm() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let suite = AttackSuite::new(engine_without).unwrap();
    let report = runtime.block_on(suite.run(|_| {})).unwrap();
    let failures: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| {
            !matches!(finding.status, AttackStatus::Blocked | AttackStatus::NotCovered)
        })
        .map(ToString::to_string)
        .collect();
    assert!(report.is_green(), "{report}:\n{}", failures.join("\n"));
    assert!(report.count(AttackStatus::Blocked) >= 90, "{report}");
}
