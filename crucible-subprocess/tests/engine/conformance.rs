//! The conformance suite of engines: as the current user, and as an ordinary user.

use std::sync::Arc;

use super::support::{engine, engine_with_ready_sandboxes, engine_with_slots};
use super::unprivileged_target::run_as_unprivileged_user;
use crucible_conformance::engine_conformance;
use crucible_core::Engine;
use crucible_core::testing::{Faults, FaultyEngine};

engine_conformance!(subprocess, || async { engine() });

engine_conformance!(in_ready_sandboxes, || async { engine_with_ready_sandboxes() });

engine_conformance!(in_slots, || async { engine_with_slots() });

engine_conformance!(subprocess_in_an_arc, || async {
    let engine: Arc<dyn Engine> = Arc::new(engine());
    engine
});

engine_conformance!(subprocess_in_a_box, || async {
    let engine: Box<dyn Engine> = Box::new(engine());
    engine
});

engine_conformance!(subprocess_without_faults, || async {
    FaultyEngine::new(engine(), Faults::none())
});

/// Runs the suite in a process of an ordinary user. Unavailable layers are waived by name, and the
/// others must hold.
#[test]
fn suite_passes_as_ordinary_user() {
    run_as_unprivileged_user("suite", &["conformance::subprocess::".to_owned()], 2);
}
