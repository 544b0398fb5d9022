//! A server that is to be reached or not, engines that know where it is, and programs that try.

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

use crate::support::not_for_this_user;

/// What the server says to whoever says something.
pub(super) const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nserved";

/// A server on this host: it notes what it gets, answers the first bytes of each connection, and holds on until the other
/// side ends.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The first bytes of each connection that said something.
    pub(super) heard: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(super) open: Arc<AtomicUsize>,
    pub(super) accepted: Arc<AtomicUsize>,
    /// Ends it with the last handle.
    ends: Option<Arc<DropGuard>>,
}

impl Server {
    pub(super) async fn start(ip: &str) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let stop = CancellationToken::new();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            open: Arc::default(),
            accepted: Arc::default(),
            ends: None,
        };
        let listener = listener.into_std().unwrap();
        let theirs = server.clone();
        let stopped = stop.clone();
        // In a runtime of its own: what tests count in theirs is the engine's.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = theirs.serve(TcpListener::from_std(listener).unwrap()) => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        server.ends = Some(Arc::new(stop.drop_guard()));
        server
    }

    async fn serve(self, listener: TcpListener) {
        // Without the part that ends it when the test's are gone.
        let Self { heard, open, accepted, address, .. } = self;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = Self {
                address,
                heard: Arc::clone(&heard),
                open: Arc::clone(&open),
                accepted: Arc::clone(&accepted),
                ends: None,
            };
            open.fetch_add(1, Ordering::SeqCst);
            accepted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                server.attend(stream).await;
                server.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    async fn attend(&self, mut stream: TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        if let Ok(length @ 1..) = stream.read(&mut buffer).await {
            self.heard.lock().unwrap().push(buffer.get(..length).unwrap_or_default().to_vec());
            if stream.write_all(ANSWER).await.is_ok() {
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
            }
        }
    }

    pub(super) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    /// That it can be reached from the host, else no refusal would prove anything.
    pub(super) async fn answers(&self, address: SocketAddr) {
        let before = self.heard().len();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"control").await.unwrap();
        let mut answer = vec![0; ANSWER.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((answer.as_slice(), self.heard().len()), (ANSWER, before + 1));
        self.heard.lock().unwrap().pop();
    }
}

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What every engine of these tests starts from: the layers that this user can have.
pub(super) fn builder() -> SubprocessBuilder {
    not_for_this_user()
        .iter()
        .fold(SubprocessEngine::builder(), |builder, layer| builder.waive(*layer))
}

/// An engine for which `allowed.test` is the server, at ports 8080 and 443, and for which no other name has an address.
pub(super) fn engine_with(server: &Server) -> SubprocessEngine {
    let builder = builder().resolver(Says::new(&[]));
    [8080, 443]
        .into_iter()
        .fold(builder, |builder, port| {
            builder.resolve(Endpoint::new("allowed.test", port), server.address)
        })
        .build()
        .unwrap()
}

/// The allow-list of most of these tests.
pub(super) fn allowed() -> Network {
    Network::Allow(vec![Endpoint::new("allowed.test", 8080), Endpoint::new("allowed.test", 443)])
}

/// A resolver that always says the same, and counts how often.
#[derive(Debug, Clone)]
pub(super) struct Says {
    addresses: Vec<IpAddr>,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
}

impl Says {
    pub(super) fn new(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Self { addresses, asked: Arc::default() }
    }
}

#[async_trait]
impl Resolver for Says {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        Ok(self.addresses.clone())
    }
}

/// What programs of these tests have at hand.
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
    '''The connection, and the code with which the proxy answers.'''
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
    '''A ClientHello as OpenSSL makes it.'''
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

/// A program that is allowed what `network` says.
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

/// Runs a program that must come to its end; gives the lines that it printed.
pub(super) async fn lines(
    engine: &SubprocessEngine,
    network: Network,
    source: &str,
) -> Vec<String> {
    let outcome = outcome(engine, &program(network, source)).await;
    crate::runs::printed(&outcome).lines().map(str::to_owned).collect()
}

/// What an outcome says of the network.
pub(super) fn detail(outcome: &Outcome) -> String {
    let mut reports = outcome.enforcement.reports().iter();
    reports.find(|report| report.layer == Layer::NetworkNamespace).unwrap().detail.clone()
}
