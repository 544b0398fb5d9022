//! The control run of an attack: a plain process without an engine.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::collector;
use super::definition::{Attack, ControlMethod, FixtureNeeds};
use super::fixture::AttackFixture;
use super::observation::{Observation, parse_report};

/// The time after which a process is ended. Every attack bounds itself to less.
const RUN_DEADLINE: Duration = Duration::from_secs(120);
/// The time between `SIGTERM` and `SIGKILL`.
const GRACE: Duration = Duration::from_millis(300);
/// The maximum amount of output that is read from each stream.
const OUTPUT_MAX: u64 = 16 * 1024 * 1024;

/// Runs an attack as a plain process and returns what the host observed.
pub(super) async fn run_unsandboxed(attack: &Attack, program: &Path, kinds: &str) -> Observation {
    let mut fixture = match AttackFixture::set_up(program, attack).await {
        Ok(fixture) => fixture,
        Err(error) => return Observation::failed(crucible_core::error_chain(&error)),
    };
    let mut child = match spawn(attack, program, kinds, &fixture) {
        Ok(child) => child,
        Err(error) => return Observation::failed(format!("cannot start a process: {error}")),
    };
    let inbound = matches!(attack.needs, FixtureNeeds::InboundConnection);
    let probe = inbound.then(|| ConnectionProbe::start(&fixture.parameter));
    let deadline = match attack.control {
        ControlMethod::UnsandboxedWithTimeout(_, deadline) => deadline,
        _ => RUN_DEADLINE,
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = (tokio::spawn(read(stdout)), tokio::spawn(read(stderr)));
    let status = wait_or_terminate(&mut child, deadline).await;
    // Before the survivors are killed: a survivor may be the harm.
    let mut harm = fixture.observed_harm(&[]);
    for pid in fixture.surviving_processes() {
        if let Some(pid) = Pid::from_raw(pid) {
            // The process may have ended by itself.
            let _sent = kill_process(pid, Signal::KILL);
        }
    }
    let _reaped = child.wait().await;
    let (stdout, stderr) = (stdout.await.unwrap_or_default(), stderr.await.unwrap_or_default());
    harm.extend(fixture.observed_harm(&[&stdout, &stderr]));
    let text = String::from_utf8_lossy(&stdout);
    harm.extend(leaked_variables(&text));
    if let (ControlMethod::NaiveJudge, Some(status)) = (&attack.control, status) {
        harm.extend(naive_verdict(status, &stdout, &stderr));
    }
    harm.extend(collect_naively(attack, &mut fixture).await);
    harm.extend(probe.and_then(ConnectionProbe::stop));
    Observation {
        report: parse_report(&text, &fixture.mark),
        external_harm: harm,
        outcome: None,
        failed: None,
    }
}

fn spawn(
    attack: &Attack,
    program: &Path,
    kinds: &str,
    fixture: &AttackFixture,
) -> std::io::Result<Child> {
    let work_dir = fixture.work_dir();
    let mut arguments = Vec::new();
    if !kinds.is_empty() {
        arguments.extend(["scratch".to_owned(), kinds.to_owned()]);
    }
    arguments.extend(fixture.arguments(attack, &work_dir));
    Command::new(program)
        .args(arguments)
        .current_dir(&work_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Collects the results with the naive collector, if the attack is about results, and returns the
/// harm.
async fn collect_naively(attack: &Attack, fixture: &mut AttackFixture) -> Vec<String> {
    let (ControlMethod::NaiveCollector, FixtureNeeds::Results(collect, _)) =
        (&attack.control, &attack.needs)
    else {
        return Vec::new();
    };
    let (results, collect) = (fixture.work_dir().join("out"), collect.clone());
    let collected =
        tokio::task::spawn_blocking(move || collector::collect(&results, &collect)).await;
    let (content, mut harm) = collected.unwrap_or_default();
    harm.extend(fixture.observed_harm(&[&content]));
    harm
}

async fn read(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // The bytes before an error count.
        let _read = stream.take(OUTPUT_MAX).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Waits for a process, and sends it `SIGTERM` at the deadline. Returns `None` if it still runs.
async fn wait_or_terminate(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    if let Ok(status) = timeout(deadline, child.wait()).await {
        return status.ok();
    }
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))?;
    // The process may have ended by itself.
    let _sent = kill_process(pid, Signal::TERM);
    timeout(GRACE, child.wait()).await.ok()?.ok()
}

/// Returns the host's environment variables that a report contains. `PATH` is no secret, and
/// engines set one of their own.
pub(super) fn leaked_variables(report: &str) -> impl Iterator<Item = String> {
    let report = report.to_owned();
    std::env::vars_os().filter_map(move |(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let leaked = name != "PATH" && report.contains(&format!(" found {name}={value}\n"));
        leaked.then(|| format!("the host's variable {name} leaked"))
    })
}

/// Returns the wrong conclusion of a judge that goes by the exit code and the output text.
fn naive_verdict(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    let contains = |stream: &[u8], text: &str| String::from_utf8_lossy(stream).contains(text);
    let conclusion = match (status.code(), status.signal()) {
        _ if stderr.contains(&0x1b) => "passes escape sequences to its terminal",
        _ if std::str::from_utf8(stderr).is_err() => "cannot read the output as text",
        _ if contains(stderr, "Memory limit exceeded") => "believes that it ran out of memory",
        (Some(124), _) => "believes that it timed out",
        (Some(137), _) => "believes that it was killed",
        (Some(code), _) if code != 0 && contains(stdout, "EXIT_CODE:0") => {
            "believes that it exited with 0"
        }
        (_, Some(9)) => "believes that it was killed at a limit",
        _ => return None,
    };
    Some(format!("a judge by exit codes and text {conclusion}"))
}

/// A task that tries to connect to a port until it succeeds or is dropped.
pub(super) struct ConnectionProbe {
    connected: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl ConnectionProbe {
    /// Starts to connect to a port of the loopback.
    pub(super) fn start(port: &str) -> Self {
        let connected = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&connected);
        let address = format!("127.0.0.1:{port}");
        let task = tokio::spawn(async move {
            while tokio::net::TcpStream::connect(&address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
            flag.store(true, Ordering::Relaxed);
        });
        Self { connected, task }
    }

    /// Stops the probe and returns the harm, if it connected.
    pub(super) fn stop(self) -> Option<String> {
        let connected = self.connected.load(Ordering::Relaxed);
        connected.then(|| "the host could connect".to_owned())
    }
}

impl Drop for ConnectionProbe {
    fn drop(&mut self) {
        self.task.abort();
    }
}
