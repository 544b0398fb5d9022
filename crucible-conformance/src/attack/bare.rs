//! The control: an attack as a plain process, without any engine.

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
use super::entry::{Attack, Control, Needs};
use super::observation::{Observation, read_report};
use super::scene::Scene;

/// Every attack that nothing stops is over before.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a process that was sent `SIGTERM` has.
const GRACE: Duration = Duration::from_millis(300);
/// The most output that is read.
const OUTPUT_MAX: u64 = 16 * 1024 * 1024;

/// Runs an attack as a plain process and looks what came of it.
pub(super) async fn attack_nobody(attack: &Attack, program: &Path, kinds: &str) -> Observation {
    let mut scene = match Scene::set_up(program, attack).await {
        Ok(scene) => scene,
        Err(error) => return Observation::failed(crucible_core::error_chain(&error)),
    };
    let place = scene.place();
    let mut arguments = Vec::new();
    if !kinds.is_empty() {
        arguments.extend(["scratch".to_owned(), kinds.to_owned()]);
    }
    arguments.extend(scene.arguments(attack, &place));
    let spawned = Command::new(program)
        .args(arguments)
        .current_dir(&place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Observation::failed(format!("cannot start a process: {error}")),
    };
    let caller = matches!(attack.needs, Needs::Caller).then(|| call(&scene.extra));
    let patience = match attack.control {
        Control::Timeout(_, patience) => patience,
        _ => PATIENCE,
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = (tokio::spawn(read(stdout)), tokio::spawn(read(stderr)));
    let status = end(&mut child, patience).await;
    // Before what is left is ended: it may be the harm.
    let left = scene.harm(&[]);
    for pid in scene.left_behind() {
        if let Some(pid) = Pid::from_raw(pid) {
            // It may have ended by itself.
            let _sent = kill_process(pid, Signal::KILL);
        }
    }
    let _reaped = child.wait().await;
    let (stdout, stderr) = (stdout.await.unwrap_or_default(), stderr.await.unwrap_or_default());
    let mut found_outside = left;
    found_outside.extend(scene.harm(&[&stdout, &stderr]));
    let text = String::from_utf8_lossy(&stdout);
    found_outside
        .extend(told_variables(&text).map(|name| format!("the host's variable {name} was told")));
    if let (Control::Judge, Some(status)) = (&attack.control, status) {
        found_outside.extend(misjudge(status, &stdout, &stderr));
    }
    if let (Control::Collector, Needs::Results(collect, _)) = (&attack.control, &attack.needs) {
        let (place, collect) = (place.join("out"), collect.clone());
        let collected =
            tokio::task::spawn_blocking(move || collector::collect(&place, &collect)).await;
        let (content, harm) = collected.unwrap_or_default();
        found_outside.extend(harm);
        found_outside.extend(scene.harm(&[&content]));
    }
    if let Some(caller) = caller
        && caller.stop()
    {
        found_outside.push("the host could connect".to_owned());
    }
    Observation {
        said: read_report(&text, &scene.mark),
        found_outside,
        outcome: None,
        failed: None,
    }
}

async fn read(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before an error counts.
        let _read = stream.take(OUTPUT_MAX).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Waits for a process, and after its time sends it the signal that asks to end.
async fn end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    if let Ok(status) = timeout(patience, child.wait()).await {
        return status.ok();
    }
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))?;
    // It may have ended by itself.
    let _sent = kill_process(pid, Signal::TERM);
    timeout(GRACE, child.wait()).await.ok()?.ok()
}

/// The host's variables that a report tells. The path to programs is no secret, and engines set one of their own.
pub(super) fn told_variables(report: &str) -> impl Iterator<Item = String> {
    let report = report.to_owned();
    std::env::vars_os().filter_map(move |(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let told = name != "PATH" && report.contains(&format!(" found {name}={value}\n"));
        told.then_some(name)
    })
}

/// What somebody makes of a program who goes by its exit code and by its text.
fn misjudge(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    let says = |stream: &[u8], text: &str| String::from_utf8_lossy(stream).contains(text);
    let judged = match (status.code(), status.signal()) {
        _ if stderr.contains(&0x1b) => "his terminal, which obeys",
        _ if std::str::from_utf8(stderr).is_err() => "that it wrote nothing that can be read",
        _ if says(stderr, "Memory limit exceeded") => "that it ran out of memory",
        (Some(124), _) => "that it timed out",
        (Some(137), _) => "that it was killed",
        (Some(code), _) if code != 0 && says(stdout, "EXIT_CODE:0") => "that it exited with 0",
        (_, Some(9)) => "that it was killed at a limit",
        _ => return None,
    };
    Some(format!("a judge by codes and text believes {judged}"))
}

/// Tries to connect to a port until it is dropped.
pub(super) struct Caller {
    reached: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Caller {
    /// Whether somebody was there.
    pub(super) fn stop(self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn call(port: &str) -> Caller {
    let reached = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&reached);
    let address = format!("127.0.0.1:{port}");
    let task = tokio::spawn(async move {
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        told.store(true, Ordering::Relaxed);
    });
    Caller { reached, task }
}
