//! A test of the error on a host that has disabled user namespaces.

use crucible_core::{EngineError, Layer};
use crucible_subprocess::{SubprocessEngine, doctor};

/// The variable with the name of the setting by which the test environment disabled user
/// namespaces.
const SWITCHED_OFF: &str = "CRUCIBLE_TEST_SWITCHED_OFF";

#[test]
fn disabling_setting_is_the_only_reported_cause() {
    let report = doctor();
    let fact = report.fact("user namespaces").unwrap();
    let line = report.layers.iter().find(|probe| probe.layer == Layer::UserNamespace).unwrap();
    let Ok(setting) = std::env::var(SWITCHED_OFF) else {
        assert!(line.available, "{report}");
        return;
    };
    let (named, command) = (format!("`{setting}`"), format!("sysctl -w {setting}="));
    assert!(fact.contains(&named) && fact.contains(&command), "{report}");
    assert!(
        !line.available && line.detail.contains(&named) && line.fix.contains(&command),
        "{report}"
    );
    let builder = super::support::unavailable_layers().iter();
    let builder = builder.fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer));
    let error = builder.build().unwrap_err();
    let EngineError::LayerUnavailable { missing } = &error else { panic!("{error:?}") };
    assert_eq!(
        missing.iter().map(|missing| missing.layer).collect::<Vec<_>>(),
        [Layer::UserNamespace]
    );
    let text = error.to_string();
    assert!(text.contains(&named) && text.contains(&command), "{text}");
}
