//! The calls that the engine makes to the daemon.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use crucible_core::{Command, Engine as _, ExecOptions, OnExit, SandboxSpec, Verdict};
use crucible_docker::{DeviceRequest, Devices};

use super::support::{build_engine, builder, limits, outcome, shell, with_daemon};
use super::test_proxy::{CallAction, TestProxy, message};

/// All calls. A further call needs a rule in `deploy/docker-proxy`, with a reason.
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
fn engine_makes_only_the_listed_calls() {
    with_daemon(async {
        let proxy = TestProxy::new(|_| CallAction::Pass);
        let engine =
            build_engine(builder().endpoint(&proxy.endpoint).ready_containers(1)).await.unwrap();
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
        assert_eq!(proxy.kinds(), BTreeSet::from(CALLS.map(str::to_owned)));
        // One archive per engine, not per container.
        assert_eq!(proxy.calls().iter().filter(|call| call.method == "PUT").count(), 1);
    });
}

/// The tenth call, kill, is missing here: the engine makes it only for a guest that does not
/// respond.
#[test]
fn create_requests_have_no_privileges() {
    with_daemon(async {
        let proxy = TestProxy::new(|_| CallAction::Pass);
        let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        engine.close().await;
        let calls = proxy.calls();
        let bodies: Vec<&str> = calls
            .iter()
            .filter(|call| call.is("POST", "/containers/create"))
            .map(|call| call.body.as_str())
            .collect();
        assert!(bodies.len() >= 3, "the agent volume, the first container, and the one of the run");
        for body in &bodies {
            for forbidden in [
                "Binds",
                "Mounts",
                "Devices\"",
                "PidMode",
                "UTSMode",
                "UsernsMode",
                "\"Privileged\":true",
                "unconfined",
            ] {
                assert!(!body.contains(forbidden), "{forbidden} in {body}");
            }
            for required in [
                "\"NetworkMode\":\"none\"",
                "\"CapDrop\":[\"ALL\"]",
                "\"ReadonlyRootfs\":true",
                "crucible.owner",
            ] {
                assert!(body.contains(required), "no {required} in {body}");
            }
        }
        // All calls use names that only Crucible's engines use.
        for call in calls.iter().filter(|call| call.path.starts_with("/containers/{}")) {
            assert!(call.target.contains("/containers/crucible-"), "{}", call.target);
        }
    });
}

/// Tests only the call and the error without a driver, because the test machines have no GPU.
#[test]
fn device_request_reaches_the_daemon() {
    with_daemon(async {
        let proxy = TestProxy::new(|_| CallAction::Pass);
        let wanted = DeviceRequest::gpus(Devices::Ids(vec!["0".to_owned()])).with_driver("nvidia");
        let error = builder().endpoint(&proxy.endpoint).device(wanted).build().await.unwrap_err();
        let calls = proxy.calls();
        let body = &calls.iter().rfind(|call| call.is("POST", "/containers/create")).unwrap().body;
        let request =
            r#""DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["0"],"Capabilities":[["gpu"]]}]"#;
        assert!(body.contains(request), "{body}");
        assert_eq!(error.kind(), crucible_core::EngineErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("no driver"), "{error}");
    });
}

/// The daemon reports a container that differs from the request.
#[test]
fn container_that_differs_from_the_request_is_refused() {
    with_daemon(async {
        let altered = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = Arc::clone(&altered);
        let proxy = TestProxy::new(move |call| {
            if call.is("GET", "/containers/{}/json") {
                seen.store(true, std::sync::atomic::Ordering::SeqCst);
                let response = r#"{"Id":"x","State":{"Running":true},"HostConfig":{"NetworkMode":"bridge","Privileged":true}}"#;
                return CallAction::Answer(200, response.to_owned());
            }
            CallAction::Pass
        });
        let error = builder().endpoint(&proxy.endpoint).build().await.unwrap_err();
        assert!(altered.load(std::sync::atomic::Ordering::SeqCst));
        let text = crucible_core::error_chain(&error);
        for layer in
            ["network_namespace", "capabilities", "memory_cgroup", "pids_cgroup", "read_only_root"]
        {
            assert!(text.contains(layer), "{text}");
        }
    });
}

#[test]
fn refused_call_is_an_error_with_its_status() {
    with_daemon(async {
        let proxy = TestProxy::new(|call| {
            if call.is("PUT", "/containers/{}/archive") {
                message(403, "Forbidden")
            } else {
                CallAction::Pass
            }
        });
        let error = builder().endpoint(&proxy.endpoint).build().await.unwrap_err();
        let text = crucible_core::error_chain(&error);
        assert!(text.contains("copy the guest") && text.contains("403"), "{text}");
    });
}
