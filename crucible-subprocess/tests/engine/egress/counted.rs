//! What an allow-list costs the host, and that nothing of it is left: connections, tasks, descriptors, processes.
//!
//! These tests count what this process has: in a process with other tests they need to run one at a time.

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

/// At once, for one sandbox.
const CONNECTIONS_MAX: usize = 32;

/// Holds ten connections for ever.
const HOLD: &str = "
held = [tunnel('allowed.test:8080')[0] for _ in range(10)]
for connection in held:
    connection.sendall(b'hold')
    until(connection, b'served')
print('held', flush=True)
time.sleep(1000)";

/// What is there of the host's: descriptors, tasks, processes.
fn held() -> (Vec<String>, usize, usize) {
    let own = i32::try_from(std::process::id()).unwrap();
    (open_descriptors(), tasks(), descendants(own).len())
}

/// Tasks of the engine's runtime.
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

/// An engine whose second spawner has been needed, and what is there with it.
async fn settled(server: &Server) -> (SubprocessEngine, (Vec<String>, usize, usize)) {
    let engine = engine_with(server);
    assert_eq!(lines(&engine, allowed(), "print(code('allowed.test:8080'))").await, ["200"]);
    until("the server is left", || server.open.load(Ordering::SeqCst) == 0).await;
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

async fn everything_has_ended(server: &Server, idle: &(Vec<String>, usize, usize)) {
    until("the server is left", || server.open.load(Ordering::SeqCst) == 0).await;
    until("nothing is held", || held() == *idle).await;
}

#[test]
fn a_cancelled_run_takes_its_connections_with_it() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let (engine, idle) = settled(&server).await;
        let cancel = CancellationToken::new();
        let evaluation = program(allowed(), HOLD);
        let context = RunContext::new().with_cancel(cancel.clone());
        let when_held = async {
            until("connections are held", || server.heard().len() == 10).await;
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(engine.run(&evaluation, &context), when_held);
        assert_eq!(*outcome.unwrap().verdict(), Verdict::Cancelled);
        everything_has_ended(&server, &idle).await;
    });
}

#[test]
fn a_run_that_is_dropped_takes_its_connections_with_it() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let (engine, idle) = settled(&server).await;
        let (evaluation, context) = (program(allowed(), HOLD), RunContext::new());
        tokio::select! {
            outcome = engine.run(&evaluation, &context) => panic!("{outcome:?}"),
            () = until("connections are held", || server.heard().len() == 10) => {}
        }
        everything_has_ended(&server, &idle).await;
    });
}

#[test]
fn a_sandbox_that_is_closed_has_ended_its_connections() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let (engine, idle) = settled(&server).await;
        let sandbox = engine.open(SandboxSpec::new().with_network(allowed())).await.unwrap();
        let hold = "import socket,time; s = socket.create_connection(('127.0.0.1', 3128)); \
                    s.sendall(b'CONNECT allowed.test:8080 HTTP/1.1\\r\\n\\r\\nhold'); s.recv(1); time.sleep(1000)";
        let command = Command::new(["sh", "-c", &format!("python3 -c \"{hold}\" >/dev/null 2>&1 &")]);
        sandbox.exec(&command, ExecOptions::new()).await.unwrap();
        until("a connection is held", || server.heard().len() == 1).await;
        // In a second command as in the first.
        let look = Command::new(["sh", "-c", "echo $https_proxy"]);
        let exit = sandbox.exec(&look, ExecOptions::new()).await.unwrap();
        assert_eq!(exit.stdout.to_text(), "http://127.0.0.1:3128\n");
        // The proxy's and the connection's.
        until("two tasks are there", || tasks() == 2).await;
        sandbox.close().await.unwrap();
        // The runtime counts a task until just after whoever waits for it was told.
        until("no task is left", || tasks() == 0).await;
        everything_has_ended(&server, &idle).await;
    });
}

/// The spawner of sandboxes with a list is started again like the other.
#[test]
fn a_spawner_that_died_is_started_again() {
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

/// The second spawner is there once it is needed, and no sooner.
#[test]
fn who_has_no_list_pays_for_none() {
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
        // And again none: the one has nothing to do with the other.
        let outcome = outcome(&engine, &Evaluation::shell("true")).await;
        assert_eq!(detail(&outcome), "");
        drop(engine);
        assert_eq!(spawners(), before);
    });
}

/// A thousand connections are a few at the proxy and fewer than the backlog in the kernel; the rest waits inside.
#[test]
fn a_thousand_connections_are_few_for_the_host() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        // Whatever an engine opens for its first sandbox with a list is open now.
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
        // The server may not have seen the end of those that made room for others.
        assert!(
            (CONNECTIONS_MAX..2 * CONNECTIONS_MAX).contains(&most.1),
            "{} at the server",
            most.1
        );
        // Two of the proxy's and one of the server's for each, about twenty for the sandbox itself.
        assert!(most.0 <= 3 * CONNECTIONS_MAX + 40, "{} descriptors", most.0);
    });
}
