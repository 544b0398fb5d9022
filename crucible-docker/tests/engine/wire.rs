//! A proxy between an engine and its daemon, for tests: it notes every call, and does to it what a test wants.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// A call to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Without its query, with `{}` for names.
    pub(crate) path: String,
    /// As it came.
    pub(crate) target: String,
    pub(crate) body: String,
    /// How many calls of this method and path came before.
    pub(crate) before: usize,
}

impl Call {
    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// What is done to a call.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Pass,
    /// It is answered without the daemon: a status, and a body of JSON.
    Answer(u16, String),
    /// It gets to the daemon later.
    Delay(Duration),
    /// It is not answered: the connection ends.
    Cut,
    /// The connection ends after a while.
    CutAfter(Duration),
    /// The connection ends when the daemon has said this.
    CutAt(&'static [u8]),
}

pub(crate) fn message(status: u16, text: &str) -> Action {
    Action::Answer(status, format!("{{\"message\":\"{text}\"}}"))
}

type Rule = dyn Fn(&Call) -> Action + Send + Sync;

/// Dropped, it is gone, and every connection through it.
pub(crate) struct Wire {
    pub(crate) endpoint: String,
    calls: Arc<Mutex<Vec<Call>>>,
    _socket: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where the daemon is, by the environment.
pub(crate) fn daemon_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://")
        .map_or_else(|| PathBuf::from("/var/run/docker.sock"), PathBuf::from)
}

impl Wire {
    pub(crate) fn new(rule: impl Fn(&Call) -> Action + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let (noted, rule): (_, Arc<Rule>) = (Arc::clone(&calls), Arc::new(rule));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let upstream = daemon_socket();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (client, _) = accepted.unwrap();
                        let (noted, rule, upstream) = (Arc::clone(&noted), Arc::clone(&rule), upstream.clone());
                        connections.spawn(async move {
                            // Whoever hangs up first ends it.
                            let _ended = serve(client, &upstream, &noted, &*rule).await;
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { endpoint: format!("unix://{}", path.display()), calls, _socket: directory, task }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The names of the containers that were asked for, in order.
    pub(crate) fn made(&self) -> Vec<String> {
        let name = |call: &Call| {
            let (_, query) = call.target.split_once('?')?;
            query.split('&').find_map(|pair| pair.strip_prefix("name=")).map(str::to_owned)
        };
        self.calls()
            .iter()
            .filter(|call| call.is("POST", "/containers/create"))
            .filter_map(name)
            .collect()
    }

    /// Which calls were made, each once.
    pub(crate) fn kinds(&self) -> BTreeSet<String> {
        self.calls().iter().map(|call| format!("{} {}", call.method, call.path)).collect()
    }
}

async fn serve(
    mut client: UnixStream,
    upstream: &Path,
    noted: &Mutex<Vec<Call>>,
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
        let mut noted = noted.lock().unwrap();
        let path = pattern(target);
        let body = if is_json {
            String::from_utf8_lossy(&request[head..]).into_owned()
        } else {
            String::new()
        };
        let before = noted.iter().filter(|call| call.is(method, &path)).count();
        let call =
            Call { method: method.to_owned(), path, target: target.to_owned(), body, before };
        noted.push(call.clone());
        call
    };
    let action = rule(&call);
    match action {
        Action::Answer(status, body) => {
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            return client.write_all(answer.as_bytes()).await;
        }
        Action::Cut => return Ok(()),
        Action::Delay(delay) => tokio::time::sleep(delay).await,
        Action::Pass | Action::CutAfter(_) | Action::CutAt(_) => {}
    }
    let mut daemon = UnixStream::connect(upstream).await?;
    daemon.write_all(&request).await?;
    match action {
        Action::CutAt(said) => return copy_until(said, client, daemon).await,
        Action::CutAfter(after) => {
            let _cut =
                tokio::time::timeout(after, copy_bidirectional(&mut client, &mut daemon)).await;
        }
        _ => {
            copy_bidirectional(&mut client, &mut daemon).await?;
        }
    }
    Ok(())
}

/// Copies in both directions until the daemon has said this.
async fn copy_until(said: &[u8], client: UnixStream, daemon: UnixStream) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_daemon, mut to_daemon) = daemon.into_split();
    let asking = tokio::io::copy(&mut from_client, &mut to_daemon);
    let answering = async {
        let mut heard = Vec::new();
        while !heard.windows(said.len()).any(|bytes| bytes == said) {
            let before = heard.len();
            if from_daemon.read_buf(&mut heard).await? == 0 {
                break;
            }
            to_client.write_all(&heard[before..]).await?;
        }
        Ok(())
    };
    tokio::select! {
        answered = answering => answered,
        Err(error) = asking => Err(error),
    }
}

/// A path with `{}` for names, without a version and a query.
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
