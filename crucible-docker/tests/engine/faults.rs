//! The infrastructure fails in every way that it can: an error of the right kind, never a verdict, and nothing is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crucible_core::{Engine as _, EngineErrorKind, SandboxSpec, Verdict};

use super::support::{
    builder, containers, docker, limits, made, outcome, refused, shell, until, with_daemon,
};
use super::wire::{Action, Call, Wire, message};

const CREATE: (&str, &str) = ("POST", "/containers/create");
const ATTACH: (&str, &str) = ("POST", "/containers/{}/attach");
const START: (&str, &str) = ("POST", "/containers/{}/start");

/// A rule that is about one kind of call, from the one with this number on, and only while it is switched on.
fn on(
    (method, path): (&'static str, &'static str),
    action: Action,
) -> (Arc<AtomicBool>, impl Fn(&Call) -> Action + Send + Sync + 'static) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let rule = move |call: &Call| {
        if is_on.load(Ordering::SeqCst) && call.is(method, path) {
            action.clone()
        } else {
            Action::Pass
        }
    };
    (switch, rule)
}

/// What the engines of this wire have made, by the names in its calls.
fn left(wire: &Wire) -> Vec<String> {
    let made = wire.made();
    containers().into_iter().map(|(name, ..)| name).filter(|name| made.contains(name)).collect()
}

/// Waits until a program runs in the last container that the engine made, and returns its name.
async fn until_it_runs(wire: &Wire, program: &str) -> String {
    let mut running = None;
    until("the program runs", Duration::from_secs(60), || {
        running = wire.made().pop().filter(|name| {
            let top = std::process::Command::new("docker").args(["top", name]).output().unwrap();
            String::from_utf8_lossy(&top.stdout).lines().any(|line| line.ends_with(program))
        });
        running.is_some()
    })
    .await;
    running.unwrap()
}

async fn nothing_is_left(wire: &Wire) {
    until("nothing is left", Duration::from_secs(20), || left(wire).is_empty()).await;
}

#[test]
fn a_daemon_that_is_away() {
    super::support::run(async {
        let error = builder().endpoint("unix:///no/such/docker.sock").build().await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Unavailable);
        assert!(error.to_string().contains("/no/such/docker.sock"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error =
            builder().endpoint(format!("unix://{}", path.display())).build().await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Unavailable, "{error}");
    });
}

#[test]
fn a_daemon_that_is_too_slow_is_unavailable_and_what_it_makes_in_the_end_is_removed() {
    with_daemon(async {
        let (switch, rule) = on(CREATE, Action::Delay(Duration::from_secs(4)));
        let wire = Wire::new(rule);
        let engine =
            made(builder().endpoint(&wire.endpoint).timeout(Duration::from_secs(2))).await.unwrap();
        switch.store(true, Ordering::SeqCst);
        let error = refused(&engine, &shell("true")).await;
        assert_eq!(error.kind(), EngineErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable() && !error.target_started());
        switch.store(false, Ordering::SeqCst);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        // It is made after it was removed, by a call that nobody waits for any more; whoever comes next removes it.
        tokio::time::sleep(Duration::from_secs(3)).await;
        engine.close().await;
        let found = left(&wire);
        assert!(found.len() <= 1, "{found:?}");
        for name in found {
            docker(&["rm", "--force", "--volumes", &name]);
        }
    });
}

#[test]
fn an_image_that_is_missing_and_one_for_another_machine() {
    with_daemon(async {
        let error =
            super::support::builder().image("crucible-no-such-image:1").build().await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Unsupported);
        assert!(error.to_string().contains("docker pull crucible-no-such-image:1"), "{error}");
        let engine = made(builder()).await.unwrap();
        let error = refused(&engine, &shell("true").with_image("crucible-no-such-image:1")).await;
        assert_eq!(error.kind(), EngineErrorKind::Unsupported);
        let other = r#"{"Id":"sha256:0","Os":"linux","Architecture":"arm64"}"#;
        let wire = Wire::new(move |call| {
            if call.is("GET", "/images/{}/json") {
                Action::Answer(200, other.to_owned())
            } else {
                Action::Pass
            }
        });
        let error = builder().endpoint(&wire.endpoint).build().await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Unsupported);
        assert!(error.to_string().contains("linux/arm64"), "{error}");
        let volumes = r#"{"Id":"sha256:0","Os":"linux","Architecture":"amd64","Config":{"Volumes":{"/data":{}}}}"#;
        let wire = Wire::new(move |call| {
            if call.is("GET", "/images/{}/json") {
                Action::Answer(200, volumes.to_owned())
            } else {
                Action::Pass
            }
        });
        let error = builder().endpoint(&wire.endpoint).build().await.unwrap_err();
        assert!(error.to_string().contains("/data"), "{error}");
    });
}

#[test]
fn a_name_that_is_taken_is_replaced() {
    with_daemon(async {
        let taken = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&taken);
        let wire = Wire::new(move |call| {
            // Once.
            if call.is("POST", "/containers/create") && switch.swap(false, Ordering::SeqCst) {
                return message(
                    409,
                    "Conflict. The container name \\\"/x\\\" is already in use by container \\\"y\\\"",
                );
            }
            Action::Pass
        });
        let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
        taken.store(true, Ordering::SeqCst);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        assert!(!taken.load(Ordering::SeqCst));
        engine.close().await;
        nothing_is_left(&wire).await;
    });
}

#[test]
fn refusals_of_the_daemon_have_their_kinds() {
    with_daemon(async {
        for (call, action, kind) in [
            (
                CREATE,
                message(500, "write /var/lib/docker/x: no space left on device"),
                EngineErrorKind::Unavailable,
            ),
            (CREATE, message(429, "too many requests"), EngineErrorKind::Unavailable),
            (CREATE, message(400, "invalid"), EngineErrorKind::Setup),
            (CREATE, Action::Cut, EngineErrorKind::Unavailable),
            (
                START,
                message(500, "OCI runtime create failed: container_linux.go"),
                EngineErrorKind::Setup,
            ),
            (START, message(500, "exec format error"), EngineErrorKind::Unsupported),
            (START, Action::Cut, EngineErrorKind::Unavailable),
            (ATTACH, message(500, "cannot attach"), EngineErrorKind::Setup),
            (ATTACH, Action::Cut, EngineErrorKind::Unavailable),
        ] {
            let said = format!("{call:?} {action:?}");
            let (switch, rule) = on(call, action);
            let wire = Wire::new(rule);
            let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
            switch.store(true, Ordering::SeqCst);
            let error = refused(&engine, &shell("true")).await;
            assert_eq!(error.kind(), kind, "{said}: {}", crucible_core::error_chain(&error));
            assert!(!error.target_started(), "{said}");
            switch.store(false, Ordering::SeqCst);
            assert!(outcome(&engine, &shell("true")).await.is_success(), "{said}: it goes on");
            engine.close().await;
            nothing_is_left(&wire).await;
        }
    });
}

/// A connection that ends before anything was run can be tried again; one that ends later cannot, by itself.
#[test]
fn a_stream_that_is_cut() {
    with_daemon(async {
        // Before there is a guest at the other end, and when the program runs.
        for (said, started) in [(b"\r\n\r\n".as_slice(), false), (b"it runs", true)] {
            let (switch, rule) = on(ATTACH, Action::CutAt(said));
            let wire = Wire::new(rule);
            let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
            switch.store(true, Ordering::SeqCst);
            let error = refused(&engine, &shell("echo it runs; sleep 100")).await;
            assert_eq!(
                error.kind(),
                EngineErrorKind::Lost,
                "{}",
                crucible_core::error_chain(&error)
            );
            assert_eq!(error.target_started(), started);
            engine.close().await;
            nothing_is_left(&wire).await;
        }
    });
}

#[test]
fn a_container_that_somebody_else_ends_or_removes_is_no_verdict() {
    with_daemon(async {
        for how in [["kill", "--signal=KILL"].as_slice(), &["rm", "--force"]] {
            let wire = Wire::new(|_| Action::Pass);
            let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
            let evaluation = shell("sleep 100");
            let ended = refused(&engine, &evaluation);
            let others = async {
                // The last container that the engine made, as soon as the program runs in it.
                let name = until_it_runs(&wire, "sleep 100").await;
                docker(&[how, &[name.as_str()]].concat());
            };
            let (error, ()) = tokio::join!(ended, others);
            assert_eq!(
                error.kind(),
                EngineErrorKind::Lost,
                "{}",
                crucible_core::error_chain(&error)
            );
            assert!(error.target_started());
            engine.close().await;
        }
    });
}

/// The container that carries the guest is removed by somebody: there is another.
#[test]
fn a_carrier_that_is_gone_is_made_again() {
    with_daemon(async {
        let wire = Wire::new(|_| Action::Pass);
        let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
        let carrier = wire.calls().iter().find(|call| call.method == "PUT").unwrap().target.clone();
        let carrier =
            carrier.split('/').find(|part| part.starts_with("crucible-")).unwrap().to_owned();
        docker(&["rm", "--force", "--volumes", &carrier]);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        engine.close().await;
        nothing_is_left(&wire).await;
    });
}

/// A daemon that is started again takes what ran with it; what comes afterwards runs.
#[test]
fn a_daemon_that_is_away_for_a_while() {
    with_daemon(async {
        let away = Arc::new(AtomicBool::new(false));
        let is_away = Arc::clone(&away);
        let wire = Wire::new(move |call| {
            if is_away.load(Ordering::SeqCst) {
                return Action::Cut;
            }
            if call.is("POST", "/containers/{}/attach") && call.before == 1 {
                return Action::CutAfter(Duration::from_secs(5));
            }
            Action::Pass
        });
        let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
        let evaluation = shell("sleep 100");
        let goes = async {
            until_it_runs(&wire, "sleep 100").await;
            away.store(true, Ordering::SeqCst);
        };
        let (error, ()) = tokio::join!(refused(&engine, &evaluation), goes);
        assert_eq!(error.kind(), EngineErrorKind::Lost);
        assert!(engine.health().await.is_err());
        assert_eq!(refused(&engine, &shell("true")).await.kind(), EngineErrorKind::Unavailable);
        away.store(false, Ordering::SeqCst);
        engine.health().await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        // What could not be removed while it was away is removed now.
        until("one is left, the carrier", Duration::from_secs(40), || left(&wire).len() == 1).await;
        engine.close().await;
        nothing_is_left(&wire).await;
    });
}

/// What is removed at the first try is as gone as what is removed at the third.
#[test]
fn a_removal_that_fails_is_tried_again() {
    with_daemon(async {
        let wire = Wire::new(|call| {
            let fails = call.method == "DELETE" && call.before % 3 != 2;
            if fails {
                message(500, "driver failed to remove root filesystem: device or resource busy")
            } else {
                Action::Pass
            }
        });
        let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        engine.close().await;
        nothing_is_left(&wire).await;
    });
}

/// A session whose container is gone says so, and can be closed.
#[test]
fn a_session_whose_container_is_gone() {
    with_daemon(async {
        let wire = Wire::new(|_| Action::Pass);
        let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
        let sandbox = engine.open(SandboxSpec::new().with_limits(limits())).await.unwrap();
        let command = crucible_core::Command::new(["true"]);
        let exit = sandbox.exec(&command, crucible_core::ExecOptions::new()).await.unwrap();
        assert_eq!(exit.verdict(), Verdict::Exited { code: 0 });
        let name = left(&wire).into_iter().find(|name| !name.ends_with("-guest")).unwrap();
        docker(&["rm", "--force", "--volumes", &name]);
        let error = sandbox.exec(&command, crucible_core::ExecOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Lost, "{error}");
        assert!(!error.target_started());
        sandbox.close().await.unwrap();
        engine.close().await;
        nothing_is_left(&wire).await;
    });
}
