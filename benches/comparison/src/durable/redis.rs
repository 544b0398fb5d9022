//! Redis streams with `appendfsync always` and one connection per writer.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::{Step, Subject, WRITERS, payload};

pub(crate) struct Redis {
    connections: Vec<Arc<Mutex<BufStream<UnixStream>>>>,
    next: AtomicU64,
    server: Child,
}

impl Redis {
    /// Starts a server. Returns `None` if `redis-server` is not installed.
    pub(crate) async fn start(directory: &Path) -> Option<Self> {
        std::fs::create_dir(directory).expect("a directory");
        let socket = directory.join("socket");
        let mut server = Command::new("redis-server");
        server.arg("--port").arg("0").arg("--unixsocket").arg(&socket).arg("--dir").arg(directory);
        server.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        let mut server = server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().ok()?;
        let mut connections = Vec::new();
        for _ in 0..200 {
            match UnixStream::connect(&socket).await {
                Ok(stream) => connections.push(Arc::new(Mutex::new(BufStream::new(stream)))),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            if connections.len() == WRITERS {
                break;
            }
        }
        if connections.len() < WRITERS {
            let _killed = server.kill();
            panic!("redis-server does not accept connections");
        }
        let first = Arc::clone(connections.first().expect("a connection"));
        ask(&first, &["XGROUP", "CREATE", "queue", "workers", "$", "MKSTREAM"]).await;
        Some(Self { connections, next: AtomicU64::new(1), server })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _killed = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// Sends a command and returns the strings of its reply.
async fn ask(connection: &Mutex<BufStream<UnixStream>>, words: &[&str]) -> Vec<String> {
    let mut stream = connection.lock().await;
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(command.as_bytes()).await.expect("a command");
    stream.flush().await.expect("a command");
    let (mut open, mut texts) = (1_i64, Vec::new());
    while open > 0 {
        open -= 1;
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("an answer");
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "*" => open += rest.parse::<i64>().expect("a count").max(0),
            "$" => {
                let length: i64 = rest.parse().expect("a length");
                if let Ok(length) = usize::try_from(length) {
                    let mut text = vec![0; length + 2];
                    stream.read_exact(&mut text).await.expect("a text");
                    text.truncate(length);
                    texts.push(String::from_utf8(text).expect("text"));
                }
            }
            "+" | ":" => texts.push(rest.to_owned()),
            _ => panic!("unexpected reply from redis: {line}"),
        }
    }
    texts
}

impl Subject for Redis {
    fn name(&self) -> &'static str {
        "Redis streams, AOF always"
    }

    fn submit(&self, writer: usize) -> Step {
        let connection = Arc::clone(self.connections.get(writer).expect("a connection"));
        let body = payload(self.next.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            !ask(&connection, &["XADD", "queue", "*", "body", &body]).await.is_empty()
        })
    }

    fn cycle(&self, writer: usize) -> Step {
        let connection = Arc::clone(self.connections.get(writer).expect("a connection"));
        Box::pin(async move {
            let name = writer.to_string();
            let read =
                ["XREADGROUP", "GROUP", "workers", &name, "COUNT", "1", "STREAMS", "queue", ">"];
            let texts = ask(&connection, &read).await;
            // A reply nests the stream, the entry and its fields.
            let Some(id) = texts.get(1) else { return false };
            ask(&connection, &["HSET", "results", id, "ended"]).await;
            !ask(&connection, &["XACK", "queue", "workers", id]).await.is_empty()
        })
    }
}
