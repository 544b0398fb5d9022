//! Faults of the infrastructure: each is an error of the right kind and never a verdict, and no
//! container remains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crucible_core::{Engine as _, EngineErrorKind, SandboxSpec, Verdict};

use super::support::{
    build_engine, builder, containers, docker, limits, outcome, run_error, shell, wait_until,
    with_daemon,
};
use super::test_proxy::{CallAction, DaemonCall, TestProxy, message};

const CREATE: (&str, &str) = ("POST", "/containers/create");
const ATTACH: (&str, &str) = ("POST", "/containers/{}/attach");
const START: (&str, &str) = ("POST", "/containers/{}/start");

/// Returns a rule for one kind of call, with a switch that enables it.
fn on(
    (method, path): (&'static str, &'static str),
    action: CallAction,
) -> (Arc<AtomicBool>, impl Fn(&DaemonCall) -> CallAction + Send + Sync + 'static) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let rule = move |call: &DaemonCall| {
        if is_on.load(Ordering::SeqCst) && call.is(method, path) {
            action.clone()
        } else {
            CallAction::Pass
        }
    };
    (switch, rule)
}

/// Returns the remaining containers that engines created through this proxy.
fn remaining(proxy: &TestProxy) -> Vec<String> {
    let made = proxy.created();
    containers().into_iter().map(|(name, ..)| name).filter(|name| made.contains(name)).collect()
}

/// Waits until a program runs in the last container that the engine created, and returns its
/// name.
async fn until_it_runs(proxy: &TestProxy, program: &str) -> String {
    let mut running = None;
    wait_until("the program runs", Duration::from_secs(60), || {
        running = proxy.created().pop().filter(|name| {
            let top = std::process::Command::new("docker").args(["top", name]).output().unwrap();
            String::from_utf8_lossy(&top.stdout).lines().any(|line| line.ends_with(program))
        });
        running.is_some()
    })
    .await;
    running.unwrap()
}

async fn wait_until_removed(proxy: &TestProxy) {
    wait_until("no container remains", Duration::from_secs(20), || remaining(proxy).is_empty())
        .await;
}

#[test]
fn missing_daemon_is_unavailable() {
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
fn slow_daemon_is_unavailable_and_leaves_one_container_at_most() {
    with_daemon(async {
        let (switch, rule) = on(CREATE, CallAction::Delay(Duration::from_secs(4)));
        let proxy = TestProxy::new(rule);
        let engine =
            build_engine(builder().endpoint(&proxy.endpoint).timeout(Duration::from_secs(2)))
                .await
                .unwrap();
        switch.store(true, Ordering::SeqCst);
        let error = run_error(&engine, &shell("true")).await;
        assert_eq!(error.kind(), EngineErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable() && !error.target_started());
        switch.store(false, Ordering::SeqCst);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        // The abandoned call creates the container after its removal. The next engine's reaper
        // would remove it.
        tokio::time::sleep(Duration::from_secs(3)).await;
        engine.close().await;
        let found = remaining(&proxy);
        assert!(found.len() <= 1, "{found:?}");
        for name in found {
            docker(&["rm", "--force", "--volumes", &name]);
        }
    });
}

#[test]
fn image_that_cannot_run_is_unsupported() {
    with_daemon(async {
        let error =
            super::support::builder().image("crucible-no-such-image:1").build().await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Unsupported);
        assert!(error.to_string().contains("docker pull crucible-no-such-image:1"), "{error}");
        let engine = build_engine(builder()).await.unwrap();
        let error = run_error(&engine, &shell("true").with_image("crucible-no-such-image:1")).await;
        assert_eq!(error.kind(), EngineErrorKind::Unsupported);
        let other = r#"{"Id":"sha256:0","Os":"linux","Architecture":"arm64"}"#;
        let proxy = TestProxy::new(move |call| {
            if call.is("GET", "/images/{}/json") {
                CallAction::Answer(200, other.to_owned())
            } else {
                CallAction::Pass
            }
        });
        let error = builder().endpoint(&proxy.endpoint).build().await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Unsupported);
        assert!(error.to_string().contains("linux/arm64"), "{error}");
        let volumes = r#"{"Id":"sha256:0","Os":"linux","Architecture":"amd64","Config":{"Volumes":{"/data":{}}}}"#;
        let proxy = TestProxy::new(move |call| {
            if call.is("GET", "/images/{}/json") {
                CallAction::Answer(200, volumes.to_owned())
            } else {
                CallAction::Pass
            }
        });
        let error = builder().endpoint(&proxy.endpoint).build().await.unwrap_err();
        assert!(error.to_string().contains("/data"), "{error}");
    });
}

#[test]
fn taken_container_name_is_replaced() {
    with_daemon(async {
        let taken = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&taken);
        let proxy = TestProxy::new(move |call| {
            // Once.
            if call.is("POST", "/containers/create") && switch.swap(false, Ordering::SeqCst) {
                return message(
                    409,
                    "Conflict. The container name \\\"/x\\\" is already in use by container \\\"y\\\"",
                );
            }
            CallAction::Pass
        });
        let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
        taken.store(true, Ordering::SeqCst);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        assert!(!taken.load(Ordering::SeqCst));
        engine.close().await;
        wait_until_removed(&proxy).await;
    });
}

#[test]
fn refusals_of_the_daemon_have_the_right_kind() {
    with_daemon(async {
        for (call, action, kind) in [
            (
                CREATE,
                message(500, "write /var/lib/docker/x: no space left on device"),
                EngineErrorKind::Unavailable,
            ),
            (CREATE, message(429, "too many requests"), EngineErrorKind::Unavailable),
            (CREATE, message(400, "invalid"), EngineErrorKind::Setup),
            (CREATE, CallAction::Cut, EngineErrorKind::Unavailable),
            (
                START,
                message(500, "OCI runtime create failed: container_linux.go"),
                EngineErrorKind::Setup,
            ),
            (START, message(500, "exec format error"), EngineErrorKind::Unsupported),
            (START, CallAction::Cut, EngineErrorKind::Unavailable),
            (ATTACH, message(500, "cannot attach"), EngineErrorKind::Setup),
            (ATTACH, CallAction::Cut, EngineErrorKind::Unavailable),
        ] {
            let case = format!("{call:?} {action:?}");
            let (switch, rule) = on(call, action);
            let proxy = TestProxy::new(rule);
            let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
            switch.store(true, Ordering::SeqCst);
            let error = run_error(&engine, &shell("true")).await;
            assert_eq!(error.kind(), kind, "{case}: {}", crucible_core::error_chain(&error));
            assert!(!error.target_started(), "{case}");
            switch.store(false, Ordering::SeqCst);
            assert!(
                outcome(&engine, &shell("true")).await.is_success(),
                "{case}: the engine continues"
            );
            engine.close().await;
            wait_until_removed(&proxy).await;
        }
    });
}

/// A connection that breaks before the start of the program can be retried, and a later break
/// cannot.
#[test]
fn broken_stream_is_lost_and_records_the_start() {
    with_daemon(async {
        // Before the guest greets, and while the program runs.
        for (text, started) in [(b"\r\n\r\n".as_slice(), false), (b"it runs", true)] {
            let (switch, rule) = on(ATTACH, CallAction::CutAt(text));
            let proxy = TestProxy::new(rule);
            let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
            switch.store(true, Ordering::SeqCst);
            let error = run_error(&engine, &shell("echo it runs; sleep 100")).await;
            assert_eq!(
                error.kind(),
                EngineErrorKind::Lost,
                "{}",
                crucible_core::error_chain(&error)
            );
            assert_eq!(error.target_started(), started);
            engine.close().await;
            wait_until_removed(&proxy).await;
        }
    });
}

#[test]
fn container_ended_by_another_program_is_lost() {
    with_daemon(async {
        for how in [["kill", "--signal=KILL"].as_slice(), &["rm", "--force"]] {
            let proxy = TestProxy::new(|_| CallAction::Pass);
            let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
            let evaluation = shell("sleep 100");
            let ended = run_error(&engine, &evaluation);
            let others = async {
                // The last container that the engine created, as soon as the program runs in
                // it.
                let name = until_it_runs(&proxy, "sleep 100").await;
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

/// Another program removes the container with the guest's volume.
#[test]
fn removed_agent_volume_is_created_again() {
    with_daemon(async {
        let proxy = TestProxy::new(|_| CallAction::Pass);
        let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
        let volume = proxy.calls().iter().find(|call| call.method == "PUT").unwrap().target.clone();
        let volume =
            volume.split('/').find(|part| part.starts_with("crucible-")).unwrap().to_owned();
        docker(&["rm", "--force", "--volumes", &volume]);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        engine.close().await;
        wait_until_removed(&proxy).await;
    });
}

/// A daemon that restarts ends the running containers. Later runs succeed.
#[test]
fn engine_recovers_after_a_restart_of_the_daemon() {
    with_daemon(async {
        let away = Arc::new(AtomicBool::new(false));
        let is_away = Arc::clone(&away);
        let proxy = TestProxy::new(move |call| {
            if is_away.load(Ordering::SeqCst) {
                return CallAction::Cut;
            }
            if call.is("POST", "/containers/{}/attach") && call.before == 1 {
                return CallAction::CutAfter(Duration::from_secs(5));
            }
            CallAction::Pass
        });
        let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
        let evaluation = shell("sleep 100");
        let goes = async {
            until_it_runs(&proxy, "sleep 100").await;
            away.store(true, Ordering::SeqCst);
        };
        let (error, ()) = tokio::join!(run_error(&engine, &evaluation), goes);
        assert_eq!(error.kind(), EngineErrorKind::Lost);
        assert!(engine.health().await.is_err());
        assert_eq!(run_error(&engine, &shell("true")).await.kind(), EngineErrorKind::Unavailable);
        away.store(false, Ordering::SeqCst);
        engine.health().await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        // The worker repeats the removals that failed meanwhile.
        wait_until("only the agent volume remains", Duration::from_secs(40), || {
            remaining(&proxy).len() == 1
        })
        .await;
        engine.close().await;
        wait_until_removed(&proxy).await;
    });
}

#[test]
fn failed_removal_is_repeated() {
    with_daemon(async {
        let proxy = TestProxy::new(|call| {
            let fails = call.method == "DELETE" && call.before % 3 != 2;
            if fails {
                message(500, "driver failed to remove root filesystem: device or resource busy")
            } else {
                CallAction::Pass
            }
        });
        let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        engine.close().await;
        wait_until_removed(&proxy).await;
    });
}

#[test]
fn session_without_its_container_is_lost_and_can_be_closed() {
    with_daemon(async {
        let proxy = TestProxy::new(|_| CallAction::Pass);
        let engine = build_engine(builder().endpoint(&proxy.endpoint)).await.unwrap();
        let sandbox = engine.open(SandboxSpec::new().with_limits(limits())).await.unwrap();
        let command = crucible_core::Command::new(["true"]);
        let exit = sandbox.exec(&command, crucible_core::ExecOptions::new()).await.unwrap();
        assert_eq!(exit.verdict(), Verdict::Exited { code: 0 });
        let name = remaining(&proxy).into_iter().find(|name| !name.ends_with("-guest")).unwrap();
        docker(&["rm", "--force", "--volumes", &name]);
        let error = sandbox.exec(&command, crucible_core::ExecOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Lost, "{error}");
        assert!(!error.target_started());
        sandbox.close().await.unwrap();
        engine.close().await;
        wait_until_removed(&proxy).await;
    });
}
