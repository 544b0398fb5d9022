//! The engine suite on this engine: as whoever runs the tests, and as an ordinary user.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use super::support::engine;
use crucible_conformance::engine_conformance;
use crucible_core::Engine;
use crucible_core::testing::{Faults, FaultyEngine};

engine_conformance!(subprocess, || async { engine() });

engine_conformance!(subprocess_in_an_arc, || async {
    let engine: Arc<dyn Engine> = Arc::new(engine());
    engine
});

engine_conformance!(subprocess_in_a_box, || async {
    let engine: Box<dyn Engine> = Box::new(engine());
    engine
});

engine_conformance!(subprocess_without_faults, || async { FaultyEngine::new(engine(), Faults::none()) });

/// A user whom no file belongs to, as `nobody` is.
const NOBODY: u32 = 65_534;

/// The whole suite once more, by a process of an ordinary user: the layers that it cannot have are waived by name, the
/// rest must hold.
#[test]
fn the_suite_as_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        // Then the tests above are that suite.
        return;
    }
    // Where the tests are built may be closed to others.
    let directory = std::env::temp_dir().join(format!("crucible-ordinary-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.join("conformance");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let output = Command::new(&binary)
        .args(["conformance::subprocess::", "--test-threads", "2"])
        .env_clear()
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .gid(NOBODY)
        .uid(NOBODY)
        .output();
    std::fs::remove_dir_all(&directory).unwrap();
    let output = output.unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(words.contains("test result: ok. 93 passed"), "{words}");
}
