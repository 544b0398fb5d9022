//! Helpers: a test server, engines that resolve its name, and client programs.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use crucible_core::{
    Endpoint, Engine as _, Evaluation, Layer, Limits, Network, Outcome, RunContext,
};
use crucible_subprocess::{Resolver, SubprocessBuilder, SubprocessEngine};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::unavailable_layers;

/// The answer of the server.
pub(super) const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nserved";

/// A server on this host. It records and answers the first bytes of each connection, and keeps the
/// connection open until the peer closes it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The first bytes of each connection.
    pub(super) received: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(super) open: Arc<AtomicUsize>,
    pub(super) accepted: Arc<AtomicUsize>,
    /// Stops the server with the last handle.
    stop: Option<Arc<DropGuard>>,
}

impl Server {
    pub(super) async fn start(ip: &str) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let stop = CancellationToken::new();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            open: Arc::default(),
            accepted: Arc::default(),
            stop: None,
        };
        let listener = listener.into_std().unwrap();
        let serving = server.clone();
        let stopped = stop.clone();
        // In a separate runtime, so that tests count only the tasks of the engine.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serving.serve(TcpListener::from_std(listener).unwrap()) => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        server.stop = Some(Arc::new(stop.drop_guard()));
        server
    }

    async fn serve(self, listener: TcpListener) {
        // `stop` is omitted, so that no connection keeps the server alive.
        let Self { received, open, accepted, address, .. } = self;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = Self {
                address,
                received: Arc::clone(&received),
                open: Arc::clone(&open),
                accepted: Arc::clone(&accepted),
                stop: None,
            };
            open.fetch_add(1, Ordering::SeqCst);
            accepted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                server.handle_connection(stream).await;
                server.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    async fn handle_connection(&self, mut stream: TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        if let Ok(length @ 1..) = stream.read(&mut buffer).await {
            self.received.lock().unwrap().push(buffer.get(..length).unwrap_or_default().to_vec());
            if stream.write_all(ANSWER).await.is_ok() {
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
            }
        }
    }

    pub(super) fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap().clone()
    }

    /// Asserts that the host can reach the server. This is the control of every refusal.
    pub(super) async fn assert_reachable(&self, address: SocketAddr) {
        let before = self.received().len();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"control").await.unwrap();
        let mut answer = vec![0; ANSWER.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((answer.as_slice(), self.received().len()), (ANSWER, before + 1));
        self.received.lock().unwrap().pop();
    }
}

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Creates a builder with every available layer.
pub(super) fn builder() -> SubprocessBuilder {
    unavailable_layers()
        .iter()
        .fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer))
}

/// Creates an engine that resolves `allowed.test` to the server on ports 8080 and 443, and no other
/// name.
pub(super) fn engine_with(server: &Server) -> SubprocessEngine {
    let builder = builder().resolver(FixedResolver::new(&[]));
    [8080, 443]
        .into_iter()
        .fold(builder, |builder, port| {
            builder.resolve(Endpoint::new("allowed.test", port), server.address)
        })
        .build()
        .unwrap()
}

/// Returns the usual allow-list.
pub(super) fn allowed() -> Network {
    Network::Allow(vec![Endpoint::new("allowed.test", 8080), Endpoint::new("allowed.test", 443)])
}

/// A resolver that always returns the same addresses and records the queries.
#[derive(Debug, Clone)]
pub(super) struct FixedResolver {
    addresses: Vec<IpAddr>,
    pub(super) queries: Arc<Mutex<Vec<String>>>,
}

impl FixedResolver {
    pub(super) fn new(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Self { addresses, queries: Arc::default() }
    }
}

#[async_trait]
impl Resolver for FixedResolver {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        self.queries.lock().unwrap().push(host.to_owned());
        Ok(self.addresses.clone())
    }
}

/// Helper functions of the client programs.
const PRELUDE: &str = r"
import os, socket, ssl, sys, time
PROXY = ('127.0.0.1', 3128)

def until(connection, wanted):
    data = b''
    while wanted not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data

def ask(head):
    '''Returns the connection and the proxy's status code.'''
    connection = socket.create_connection(PROXY, timeout=30)
    connection.sendall(head.encode())
    answer = until(connection, b'\r\n\r\n')
    return connection, int(answer.split()[1]) if answer else 0

def tunnel(name, host=None):
    return ask(f'CONNECT {name} HTTP/1.1\r\nHost: {host or name}\r\n\r\n')

def code(name, host=None):
    connection, code = tunnel(name, host)
    connection.close()
    return code

def hello(name):
    '''Returns a ClientHello from OpenSSL.'''
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()

def error(do):
    try:
        do()
        return 'none'
    except OSError as error:
        return error.strerror or type(error).__name__
";

/// Creates a client program with a network policy.
pub(super) fn program(network: Network, source: &str) -> Evaluation {
    let limits = Limits::new().with_wall(std::time::Duration::from_secs(60));
    Evaluation::python(format!("{PRELUDE}\n{source}")).with_network(network).with_limits(limits)
}

/// Runs an evaluation.
pub(super) async fn outcome(engine: &SubprocessEngine, evaluation: &Evaluation) -> Outcome {
    match engine.run(evaluation, &RunContext::new()).await {
        Ok(outcome) => outcome,
        Err(error) => panic!("the infrastructure failed: {}", crucible_core::error_chain(&error)),
    }
}

/// Runs a client program, which must exit with 0, and returns its output lines.
pub(super) async fn lines(
    engine: &SubprocessEngine,
    network: Network,
    source: &str,
) -> Vec<String> {
    let outcome = outcome(engine, &program(network, source)).await;
    crate::runs::printed(&outcome).lines().map(str::to_owned).collect()
}

/// Returns the detail of the network layer in an outcome.
pub(super) fn detail(outcome: &Outcome) -> String {
    let mut reports = outcome.enforcement.reports().iter();
    reports.find(|report| report.layer == Layer::NetworkNamespace).unwrap().detail.clone()
}
