//! Tests of the connections, tasks, descriptors and processes that allow-lists cost, and of their
//! end.
//!
//! These tests count the objects of this process. In a process with other tests they must run one
//! at a time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crucible_core::{
    Command, Engine as _, Evaluation, ExecOptions, Limits, Network, RunContext, SandboxSpec,
    Verdict,
};
use crucible_subprocess::SubprocessEngine;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::support::{Server, allowed, detail, engine_with, lines, outcome, program, runtime};
use crate::support::{descendants, open_descriptors, open_files};

/// The maximum number of concurrent connections of one sandbox.
const CONNECTIONS_MAX: usize = 32;

/// A program that holds ten connections endlessly.
const HOLD: &str = "
held = [tunnel('allowed.test:8080')[0] for _ in range(10)]
for connection in held:
    connection.sendall(b'hold')
    until(connection, b'served')
print('held', flush=True)
time.sleep(1000)";

/// Returns the descriptors, tasks and processes of this host.
fn held() -> (Vec<String>, usize, usize) {
    let own = i32::try_from(std::process::id()).unwrap();
    (open_descriptors(), tasks(), descendants(own).len())
}

/// Returns the number of tasks of the runtime.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Creates an engine, starts its second spawner, and returns the objects of the idle engine.
async fn settled(server: &Server) -> (SubprocessEngine, (Vec<String>, usize, usize)) {
    let engine = engine_with(server);
    assert_eq!(lines(&engine, allowed(), "print(code('allowed.test:8080'))").await, ["200"]);
    until("the server has no connection", || server.open.load(Ordering::SeqCst) == 0).await;
    let mut idle = held();
    let mut same = 0;
    while same < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = held();
        same = if now == idle { same + 1 } else { 0 };
        idle = now;
    }
    (engine, idle)
}

async fn assert_idle(server: &Server, idle: &(Vec<String>, usize, usize)) {
    until("the server has no connection", || server.open.load(Ordering::SeqCst) == 0).await;
    until("no object remains", || held() == *idle).await;
}

#[test]
fn cancelled_run_closes_its_connections() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let (engine, idle) = settled(&server).await;
        let cancel = CancellationToken::new();
        let evaluation = program(allowed(), HOLD);
        let context = RunContext::new().with_cancel(cancel.clone());
        let when_held = async {
            until("ten connections are open", || server.received().len() == 10).await;
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(engine.run(&evaluation, &context), when_held);
        assert_eq!(*outcome.unwrap().verdict(), Verdict::Cancelled);
        assert_idle(&server, &idle).await;
    });
}

#[test]
fn dropped_run_closes_its_connections() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let (engine, idle) = settled(&server).await;
        let (evaluation, context) = (program(allowed(), HOLD), RunContext::new());
        tokio::select! {
            outcome = engine.run(&evaluation, &context) => panic!("{outcome:?}"),
            () = until("ten connections are open", || server.received().len() == 10) => {}
        }
        assert_idle(&server, &idle).await;
    });
}

#[test]
fn closed_sandbox_has_no_connections() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let (engine, idle) = settled(&server).await;
        let sandbox = engine.open(SandboxSpec::new().with_network(allowed())).await.unwrap();
        let hold = "import socket,time; s = socket.create_connection(('127.0.0.1', 3128)); \
                    s.sendall(b'CONNECT allowed.test:8080 HTTP/1.1\\r\\n\\r\\nhold'); \
                    s.recv(1); time.sleep(1000)";
        let script = format!("python3 -c \"{hold}\" >/dev/null 2>&1 &");
        let command = Command::new(["sh", "-c", &script]);
        sandbox.exec(&command, ExecOptions::new()).await.unwrap();
        until("a connection is open", || server.received().len() == 1).await;
        // The second command has the proxy as well.
        let look = Command::new(["sh", "-c", "echo $https_proxy"]);
        let exit = sandbox.exec(&look, ExecOptions::new()).await.unwrap();
        assert_eq!(exit.stdout.to_text(), "http://127.0.0.1:3128\n");
        // One task of the proxy and one of the connection.
        until("two tasks run", || tasks() == 2).await;
        sandbox.close().await.unwrap();
        // The runtime counts a task until shortly after it has woken the waiter.
        until("no task runs", || tasks() == 0).await;
        assert_idle(&server, &idle).await;
    });
}

/// The spawner of sandboxes with an allow-list is restarted after its death.
#[test]
fn killed_egress_spawner_is_restarted() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let own = i32::try_from(std::process::id()).unwrap();
        let engine = engine_with(&server);
        let others = descendants(own);
        assert_eq!(lines(&engine, allowed(), "print(code('allowed.test:8080'))").await, ["200"]);
        let is_spawner = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim()
                == "crucible-spawn"
        };
        let mut new: Vec<_> =
            descendants(own).difference(&others).copied().filter(is_spawner).collect();
        let spawner = rustix::process::Pid::from_raw(new.pop().unwrap()).unwrap();
        assert!(new.is_empty(), "{new:?}");
        rustix::process::kill_process(spawner, rustix::process::Signal::KILL).unwrap();
        let stat = format!("/proc/{}/stat", spawner.as_raw_pid());
        let is_dead = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        until("the spawner is dead", is_dead).await;
        for _ in 0..2 {
            assert_eq!(
                lines(&engine, allowed(), "print(code('allowed.test:8080'))").await,
                ["200"]
            );
        }
    });
}

fn spawners() -> usize {
    let own = i32::try_from(std::process::id()).unwrap();
    let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    descendants(own).iter().filter(|pid| name(pid).starts_with("crucible-spawn")).count()
}

/// The second spawner starts with the first sandbox that has an allow-list.
#[test]
fn second_spawner_starts_only_for_allow_lists() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let before = spawners();
        let engine = engine_with(&server);
        let variables = "print(sorted(name for name in os.environ if 'proxy' in name.lower()))";
        assert_eq!(lines(&engine, Network::None, variables).await, ["[]"]);
        assert_eq!(spawners(), before + 1);
        let named = lines(&engine, allowed(), variables).await;
        let all =
            "['ALL_PROXY', 'HTTPS_PROXY', 'HTTP_PROXY', 'all_proxy', 'http_proxy', 'https_proxy']";
        assert_eq!(named, [all]);
        assert_eq!(spawners(), before + 2);
        // A run without a list is unaffected.
        let outcome = outcome(&engine, &Evaluation::shell("true")).await;
        assert_eq!(detail(&outcome), "");
        drop(engine);
        assert_eq!(spawners(), before);
    });
}

/// Of a thousand connections only a few reach the proxy. The others wait inside the sandbox.
#[test]
fn thousand_connections_use_few_host_descriptors() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        // Opens the objects for the first sandbox with a list.
        assert_eq!(lines(&engine, allowed(), "print(code('allowed.test:8080'))").await, ["200"]);
        let before = open_files();
        let source = "
held = []
for _ in range(1000):
    connection = socket.socket()
    connection.setblocking(False)
    try:
        connection.connect(PROXY)
    except BlockingIOError:
        pass
    held.append(connection)
for connection in held:
    try:
        connection.send(b'CONNECT allowed.test:8080 HTTP/1.1\\r\\n\\r\\n')
    except OSError:
        pass
time.sleep(1)
served = 0
for connection in held:
    try:
        served += connection.recv(12) == b'HTTP/1.1 200'
    except OSError:
        pass
print(len(held), served)
for connection in held:
    connection.close()
connection, status = tunnel('allowed.test:8080')
connection.sendall(b'control')
print(status, until(connection, b'served')[-6:].decode())";
        let evaluation = program(allowed(), source);
        let limits = Limits::new().with_open_files(1100).with_wall(Duration::from_secs(120));
        let evaluation = evaluation.with_limits(limits);
        let context = RunContext::new();
        let run = engine.run(&evaluation, &context);
        tokio::pin!(run);
        let mut most = (0, 0);
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    let open = server.open.load(Ordering::SeqCst);
                    most = (most.0.max(open_files().saturating_sub(before)), most.1.max(open));
                }
            }
        };
        let printed = crate::runs::printed(&outcome);
        assert_eq!(printed, format!("1000 {CONNECTIONS_MAX}\n200 served"));
        // The server may not have seen the end of closed connections.
        assert!(
            (CONNECTIONS_MAX..2 * CONNECTIONS_MAX).contains(&most.1),
            "{} at the server",
            most.1
        );
        // Per connection two descriptors of the proxy and one of the server, and about twenty for
        // the sandbox.
        assert!(most.0 <= 3 * CONNECTIONS_MAX + 40, "{} descriptors", most.0);
    });
}
