//! A proxy between an engine and its daemon that records every call, and applies a test's rule to
//! it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// A call to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DaemonCall {
    pub(crate) method: String,
    /// The path without the query, with `{}` for names.
    pub(crate) path: String,
    /// The path and query as received.
    pub(crate) target: String,
    pub(crate) body: String,
    /// The number of earlier calls with this method and path.
    pub(crate) before: usize,
}

impl DaemonCall {
    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// The action of the proxy on a call.
#[derive(Debug, Clone)]
pub(crate) enum CallAction {
    /// Forwards the call.
    Pass,
    /// Responds without the daemon, with a status and a JSON body.
    Answer(u16, String),
    /// Forwards the call later.
    Delay(Duration),
    /// Closes the connection without a response.
    Cut,
    /// Closes the connection after a while.
    CutAfter(Duration),
    /// Closes the connection after these bytes of the daemon.
    CutAt(&'static [u8]),
}

/// Returns a response with an error message.
pub(crate) fn message(status: u16, text: &str) -> CallAction {
    CallAction::Answer(status, format!("{{\"message\":\"{text}\"}}"))
}

type Rule = dyn Fn(&DaemonCall) -> CallAction + Send + Sync;

/// The proxy. When dropped, it closes every connection.
pub(crate) struct TestProxy {
    pub(crate) endpoint: String,
    calls: Arc<Mutex<Vec<DaemonCall>>>,
    _socket: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the daemon's socket from the environment.
pub(crate) fn daemon_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://")
        .map_or_else(|| PathBuf::from("/var/run/docker.sock"), PathBuf::from)
}

impl TestProxy {
    pub(crate) fn new(rule: impl Fn(&DaemonCall) -> CallAction + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let calls = Arc::<Mutex<Vec<DaemonCall>>>::default();
        let (recorded, rule): (_, Arc<Rule>) = (Arc::clone(&calls), Arc::new(rule));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let upstream = daemon_socket();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (client, _) = accepted.unwrap();
                        let (recorded, rule, upstream) = (Arc::clone(&recorded), Arc::clone(&rule), upstream.clone());
                        connections.spawn(async move {
                            // Either side may close the connection.
                            let _ended = serve(client, &upstream, &recorded, &*rule).await;
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { endpoint: format!("unix://{}", path.display()), calls, _socket: directory, task }
    }

    pub(crate) fn calls(&self) -> Vec<DaemonCall> {
        self.calls.lock().unwrap().clone()
    }

    /// Returns the names of the containers that were created, in order.
    pub(crate) fn created(&self) -> Vec<String> {
        let name = |call: &DaemonCall| {
            let (_, query) = call.target.split_once('?')?;
            query.split('&').find_map(|pair| pair.strip_prefix("name=")).map(str::to_owned)
        };
        self.calls()
            .iter()
            .filter(|call| call.is("POST", "/containers/create"))
            .filter_map(name)
            .collect()
    }

    /// Returns each kind of call once.
    pub(crate) fn kinds(&self) -> BTreeSet<String> {
        self.calls().iter().map(|call| format!("{} {}", call.method, call.path)).collect()
    }
}

async fn serve(
    mut client: UnixStream,
    upstream: &Path,
    recorded: &Mutex<Vec<DaemonCall>>,
    rule: &Rule,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(at) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let length = text
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    let is_json = text.to_ascii_lowercase().contains("application/json");
    while request.len() < head + length.unwrap_or(0) {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let call = {
        let mut recorded = recorded.lock().unwrap();
        let path = pattern(target);
        let body = if is_json {
            String::from_utf8_lossy(&request[head..]).into_owned()
        } else {
            String::new()
        };
        let before = recorded.iter().filter(|call| call.is(method, &path)).count();
        let call =
            DaemonCall { method: method.to_owned(), path, target: target.to_owned(), body, before };
        recorded.push(call.clone());
        call
    };
    let action = rule(&call);
    match action {
        CallAction::Answer(status, body) => {
            let response = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            return client.write_all(response.as_bytes()).await;
        }
        CallAction::Cut => return Ok(()),
        CallAction::Delay(delay) => tokio::time::sleep(delay).await,
        CallAction::Pass | CallAction::CutAfter(_) | CallAction::CutAt(_) => {}
    }
    let mut daemon = UnixStream::connect(upstream).await?;
    daemon.write_all(&request).await?;
    match action {
        CallAction::CutAt(end) => return copy_until(end, client, daemon).await,
        CallAction::CutAfter(after) => {
            let _cut =
                tokio::time::timeout(after, copy_bidirectional(&mut client, &mut daemon)).await;
        }
        _ => {
            copy_bidirectional(&mut client, &mut daemon).await?;
        }
    }
    Ok(())
}

/// Copies in both directions until the daemon has sent these bytes.
async fn copy_until(end: &[u8], client: UnixStream, daemon: UnixStream) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_daemon, mut to_daemon) = daemon.into_split();
    let asking = tokio::io::copy(&mut from_client, &mut to_daemon);
    let answering = async {
        let mut received = Vec::new();
        while !received.windows(end.len()).any(|bytes| bytes == end) {
            let before = received.len();
            if from_daemon.read_buf(&mut received).await? == 0 {
                break;
            }
            to_client.write_all(&received[before..]).await?;
        }
        Ok(())
    };
    tokio::select! {
        answered = answering => answered,
        Err(error) = asking => Err(error),
    }
}

/// Returns a path with `{}` for names, without version and query.
fn pattern(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> =
        path.split('/').skip(1).filter(|part| !part.starts_with("v1.")).collect();
    match parts.as_slice() {
        ["containers", "json" | "create"] | ["images", "create"] => format!("/{}", parts.join("/")),
        ["containers", _] => "/containers/{}".to_owned(),
        ["containers", _, rest] => format!("/containers/{{}}/{rest}"),
        ["images", .., rest] => format!("/images/{{}}/{rest}"),
        _ => format!("/{}", parts.join("/")),
    }
}
