//! A test of the engine after its spawner was killed.
//!
//! The test assumes that it has the only spawner of its process. It is therefore not among the
//! tests that run as an ordinary user, which share one process.

use std::time::Duration;

use super::runs::{run, without};
use super::support::{descendants, eventually};
use crucible_core::{Engine as _, Evaluation, Evidence, Limits};

/// Returns the only spawner of this process, unless it is dead.
fn spawner() -> Option<i32> {
    let own = std::process::id().to_string();
    descendants(i32::try_from(std::process::id()).unwrap()).into_iter().find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((_, rest)) = stat.split_once("(crucible-spawn) ") else { return false };
        let mut fields = rest.split(' ');
        !["Z", "X"].contains(&fields.next().unwrap()) && fields.next() == Some(&own)
    })
}

#[test]
fn violations_are_reported_after_spawner_restart() {
    let engine = without(&[]);
    let source = "import ctypes; ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)";
    let wanted = Evidence::Violation { what: "mount(2) was refused, once".to_owned() };
    let check = || {
        // Importing ctypes takes long on a slow machine.
        let limits = Limits::new().with_wall(Duration::from_secs(60));
        let outcome = run(&engine, &Evaluation::python(source).with_limits(limits));
        assert!(outcome.evidence().contains(&wanted), "{:?}", outcome.evidence());
    };
    check();
    let first = spawner().unwrap();
    let pid = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually(Duration::from_secs(10), "the spawner lives", || {
        if spawner() == Some(first) { Err(first) } else { Ok(()) }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(engine.health()).unwrap();
    check();
}
