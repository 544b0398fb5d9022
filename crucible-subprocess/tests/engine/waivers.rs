//! Giving layers up by name: each that can be, and none that cannot.

use std::collections::BTreeSet;

use super::runs::{printed, run, without};
use super::support::not_for_this_user;
use crucible_core::{
    Engine as _, EngineError, Evaluation, Isolation, Layer, LayerStatus, SandboxSpec,
};
use crucible_subprocess::SubprocessEngine;

/// Without one of these there is no sandbox.
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

/// What is waived in engines of this user anyway.
fn waived_anyway() -> BTreeSet<Layer> {
    not_for_this_user().iter().copied().collect()
}

/// Runs a program without these layers: both the engine and the outcome say so, and that every other is in force.
fn run_without(layers: &[Layer]) {
    let waived: BTreeSet<_> = waived_anyway().into_iter().chain(layers.iter().copied()).collect();
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
            other => panic!("what requires `{layer}` got {other:?}"),
        }
    }
}

#[test]
fn each_layer_that_can_be_waived_is_off_alone_and_said_to_be() {
    run_without(&[]);
    for layer in waivable() {
        run_without(&[layer]);
    }
}

#[test]
fn all_layers_that_can_be_waived_are_off_together() {
    run_without(&waivable().collect::<Vec<_>>());
}

#[test]
fn what_the_engine_is_built_on_cannot_be_waived() {
    for layer in ESSENTIAL {
        let error = SubprocessEngine::builder().waive(layer).build().unwrap_err();
        let EngineError::Invalid(input) = &error else { panic!("{error:?}") };
        let [problem] = input.problems() else { panic!("{input}") };
        assert_eq!(problem.field, "waive");
        assert!(problem.message.contains(&format!("`{layer}`")), "{problem}");
    }
    // All of them are told at once, and what else is waived is no problem.
    let builder =
        ESSENTIAL.into_iter().fold(SubprocessEngine::builder(), |b, layer| b.waive(layer));
    let error = builder.waive(Layer::Seccomp).build().unwrap_err();
    let EngineError::Invalid(input) = &error else { panic!("{error:?}") };
    assert_eq!(input.problems().len(), ESSENTIAL.len(), "{input}");
}
