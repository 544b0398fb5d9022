//! Tests of waived layers.

use std::collections::BTreeSet;

use super::runs::{printed, run, without};
use super::support::unavailable_layers;
use crucible_core::{
    Engine as _, EngineError, Evaluation, Isolation, Layer, LayerStatus, SandboxSpec,
};
use crucible_subprocess::SubprocessEngine;

/// Layers that cannot be waived.
const ESSENTIAL: [Layer; 7] = [
    Layer::UserNamespace,
    Layer::PidNamespace,
    Layer::MountNamespace,
    Layer::NoNewPrivileges,
    Layer::Capabilities,
    Layer::ReadOnlyRoot,
    Layer::BoundedDisk,
];

fn waivable() -> impl Iterator<Item = Layer> {
    Layer::ALL.iter().copied().filter(|layer| !ESSENTIAL.contains(layer))
}

/// Returns the layers that every engine of this user waives.
fn always_waived() -> BTreeSet<Layer> {
    unavailable_layers().iter().copied().collect()
}

/// Runs a program without these layers. Engine and outcome must report them as waived, and every
/// other layer as enforced.
fn run_without(layers: &[Layer]) {
    let waived: BTreeSet<_> = always_waived().into_iter().chain(layers.iter().copied()).collect();
    let engine = without(layers);
    let info = engine.info();
    let outcome = run(&engine, &Evaluation::shell("echo $((6 * 7))"));
    assert_eq!(printed(&outcome), "42");
    for layer in Layer::ALL {
        let status =
            if waived.contains(layer) { LayerStatus::Waived } else { LayerStatus::Enforced };
        assert_eq!(
            info.enforcement.status(*layer),
            status,
            "{layer} in the engine without {layers:?}"
        );
        assert_eq!(
            outcome.enforcement.status(*layer),
            status,
            "{layer} in an outcome without {layers:?}"
        );
    }
    assert_eq!(info.enforcement.waived().collect::<BTreeSet<_>>(), waived);
    assert_eq!(outcome.enforcement.waived().collect::<BTreeSet<_>>(), waived);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for layer in layers {
        let spec = SandboxSpec::new().with_isolation(Isolation::require([*layer]));
        match runtime.block_on(engine.open(spec)) {
            Err(EngineError::LayerUnavailable { missing }) => {
                assert_eq!(
                    missing.iter().map(|missing| missing.layer).collect::<Vec<_>>(),
                    [*layer]
                );
            }
            other => panic!("a sandbox that requires `{layer}` got {other:?}"),
        }
    }
}

#[test]
fn each_waived_layer_is_reported_alone() {
    run_without(&[]);
    for layer in waivable() {
        run_without(&[layer]);
    }
}

#[test]
fn all_waivable_layers_can_be_waived_together() {
    run_without(&waivable().collect::<Vec<_>>());
}

#[test]
fn essential_layers_cannot_be_waived() {
    for layer in ESSENTIAL {
        let error = SubprocessEngine::builder().waive(layer).build().unwrap_err();
        let EngineError::Invalid(input) = &error else { panic!("{error:?}") };
        let [problem] = input.problems() else { panic!("{input}") };
        assert_eq!(problem.field, "waive");
        assert!(problem.message.contains(&format!("`{layer}`")), "{problem}");
    }
    // The error contains all of them, and none of the waivable layers.
    let builder =
        ESSENTIAL.into_iter().fold(SubprocessEngine::builder(), |b, layer| b.waive(layer));
    let error = builder.waive(Layer::Seccomp).build().unwrap_err();
    let EngineError::Invalid(input) = &error else { panic!("{error:?}") };
    assert_eq!(input.problems().len(), ESSENTIAL.len(), "{input}");
}
