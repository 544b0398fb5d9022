//! How much of the daemon the engine needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use crucible_core::{Command, Engine as _, ExecOptions, OnExit, SandboxSpec, Verdict};
use crucible_docker::{DeviceRequest, Devices};

use super::support::{builder, limits, made, outcome, shell, with_daemon};
use super::wire::{Action, Wire, message};

/// All that there are. Whoever needs one more has to open the door in `deploy/docker-proxy` further, and to say why.
const CALLS: [&str; 9] = [
    "DELETE /containers/{}",
    "GET /containers/json",
    "GET /containers/{}/json",
    "GET /images/{}/json",
    "GET /version",
    "POST /containers/create",
    "POST /containers/{}/attach",
    "POST /containers/{}/start",
    "PUT /containers/{}/archive",
];

#[test]
fn the_calls_are_these_and_no_others() {
    with_daemon(async {
        let wire = Wire::new(|_| Action::Pass);
        let engine = made(builder().endpoint(&wire.endpoint).ready_containers(1)).await.unwrap();
        for _ in 0..2 {
            assert!(outcome(&engine, &shell("echo x")).await.is_success());
        }
        let spinning = shell("while :; do :; done")
            .with_limits(limits().with_cpu(std::time::Duration::from_millis(200)));
        assert!(matches!(
            outcome(&engine, &spinning).await.verdict(),
            Verdict::LimitExceeded { .. }
        ));
        let sandbox = engine.open(SandboxSpec::new().with_limits(limits())).await.unwrap();
        let path = "a/b".try_into().unwrap();
        sandbox.write(&path, Bytes::from_static(b"x"), false).await.unwrap();
        let io = ExecOptions::new().with_on_exit(OnExit::KeepBackground);
        sandbox.exec(&Command::new(["sh", "-c", "sleep 100 & cat a/b"]), io).await.unwrap();
        assert_eq!(sandbox.read(&path, 10).await.unwrap(), "x");
        sandbox.close().await.unwrap();
        engine.health().await.unwrap();
        engine.close().await;
        assert_eq!(wire.kinds(), BTreeSet::from(CALLS.map(str::to_owned)));
        // One archive an engine, not one a container.
        assert_eq!(wire.calls().iter().filter(|call| call.method == "PUT").count(), 1);
    });
}

/// A guest that was taken over may not do what it is told: then the daemon is told to end it, which is the tenth call.
#[test]
fn what_is_asked_for_is_little() {
    with_daemon(async {
        let wire = Wire::new(|_| Action::Pass);
        let engine = made(builder().endpoint(&wire.endpoint)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        engine.close().await;
        let calls = wire.calls();
        let bodies: Vec<&str> = calls
            .iter()
            .filter(|call| call.is("POST", "/containers/create"))
            .map(|call| call.body.as_str())
            .collect();
        assert!(bodies.len() >= 3, "the carrier, the first, and one that was run");
        for body in &bodies {
            for never in [
                "Binds",
                "Mounts",
                "Devices\"",
                "PidMode",
                "UTSMode",
                "UsernsMode",
                "\"Privileged\":true",
                "unconfined",
            ] {
                assert!(!body.contains(never), "{never} in {body}");
            }
            for always in [
                "\"NetworkMode\":\"none\"",
                "\"CapDrop\":[\"ALL\"]",
                "\"ReadonlyRootfs\":true",
                "crucible.owner",
            ] {
                assert!(body.contains(always), "no {always} in {body}");
            }
        }
        // Everything goes by names that only this project's engines have.
        for call in calls.iter().filter(|call| call.path.starts_with("/containers/{}")) {
            assert!(call.target.contains("/containers/crucible-"), "{}", call.target);
        }
    });
}

/// There is no GPU here: what is shown is the call, and what an engine says where there is none.
#[test]
fn devices_are_passed_on() {
    with_daemon(async {
        let wire = Wire::new(|_| Action::Pass);
        let wanted = DeviceRequest::gpus(Devices::Ids(vec!["0".to_owned()])).with_driver("nvidia");
        let error = builder().endpoint(&wire.endpoint).device(wanted).build().await.unwrap_err();
        let calls = wire.calls();
        let body = &calls.iter().rfind(|call| call.is("POST", "/containers/create")).unwrap().body;
        let request =
            r#""DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["0"],"Capabilities":[["gpu"]]}]"#;
        assert!(body.contains(request), "{body}");
        assert_eq!(error.kind(), crucible_core::EngineErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("no driver"), "{error}");
    });
}

/// The daemon says that it did something else than what was asked for.
#[test]
fn less_than_what_was_asked_for_is_refused() {
    with_daemon(async {
        let altered = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = Arc::clone(&altered);
        let wire = Wire::new(move |call| {
            if call.is("GET", "/containers/{}/json") {
                seen.store(true, std::sync::atomic::Ordering::SeqCst);
                let answer = r#"{"Id":"x","State":{"Running":true},"HostConfig":{"NetworkMode":"bridge","Privileged":true}}"#;
                return Action::Answer(200, answer.to_owned());
            }
            Action::Pass
        });
        let error = builder().endpoint(&wire.endpoint).build().await.unwrap_err();
        assert!(altered.load(std::sync::atomic::Ordering::SeqCst));
        let text = crucible_core::error_chain(&error);
        for layer in
            ["network_namespace", "capabilities", "memory_cgroup", "pids_cgroup", "read_only_root"]
        {
            assert!(text.contains(layer), "{text}");
        }
    });
}

/// What a proxy refuses is an error that says so.
#[test]
fn a_door_that_is_closed_is_an_error() {
    with_daemon(async {
        let wire = Wire::new(|call| {
            if call.is("PUT", "/containers/{}/archive") {
                message(403, "Forbidden")
            } else {
                Action::Pass
            }
        });
        let error = builder().endpoint(&wire.endpoint).build().await.unwrap_err();
        let text = crucible_core::error_chain(&error);
        assert!(text.contains("put the guest") && text.contains("403"), "{text}");
    });
}
