//! One connection of a program to the proxy, from its request to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crucible_core::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::client_hello::{ClientHello, HELLO_MAX};
use super::egress_refusal::EgressRefusal;
use super::egress_resolver::EgressResolver;
use super::proxy_request::{HEAD_MAX, ProxyMode, ProxyRequest};
use super::relay::{EgressTraffic, relay};

/// The time limit for a program to send its request, and its ClientHello.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for all addresses of a name together to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for a refused program to read the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum number of bytes read from a program after its refusal. Unread bytes would make the
/// kernel drop the answer.
const REFUSED_BYTES: u64 = 64 * 1024;
/// The maximum number of names that are resolved in parallel. getaddrinfo(3) holds a thread for
/// each, beyond the timeout.
const RESOLVING_MAX: usize = 4;
/// The port on which the proxy checks TLS.
const TLS_PORT: u16 = 443;
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Serves the connections of one sandbox.
#[derive(Debug)]
pub(super) struct ConnectionHandler {
    /// The allow-list, in lower case.
    endpoints: Vec<Endpoint>,
    resolver: Arc<EgressResolver>,
    resolving: Semaphore,
    pub(super) traffic: EgressTraffic,
    pub(super) connected: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// The reason why a connection was not established.
enum ConnectError {
    /// The program gets an answer with the reason.
    Refused(EgressRefusal),
    /// The program already got a success answer. The connection is closed.
    RefusedInTunnel(EgressRefusal),
    /// The program has closed the connection.
    Closed(io::Error),
}

impl From<EgressRefusal> for ConnectError {
    fn from(refusal: EgressRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Closed(error)
    }
}

impl ConnectionHandler {
    /// Creates the handler of a sandbox with this allow-list, in lower case.
    pub(super) fn new(endpoints: Vec<Endpoint>, resolver: Arc<EgressResolver>) -> Self {
        Self {
            endpoints,
            resolver,
            resolving: Semaphore::new(RESOLVING_MAX),
            traffic: EgressTraffic::default(),
            connected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Returns the number of allow-listed endpoints.
    pub(super) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(&self, mut client: TcpStream) {
        let refusal = match self.connect(&mut client).await {
            Ok((mut server, first)) => {
                self.connected.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = relay(&mut client, &mut server, &first, &self.traffic).await {
                    tracing::debug!(%error, "a connection through the proxy failed");
                }
                return;
            }
            Err(ConnectError::Closed(error)) => {
                tracing::debug!(%error, "a program left the proxy before it was connected");
                return;
            }
            Err(ConnectError::RefusedInTunnel(refusal)) => {
                self.note(refusal);
                return;
            }
            Err(ConnectError::Refused(refusal)) => refusal,
        };
        // Counted before the program gets the answer, after which it may end.
        self.note(refusal);
        // The program may not read the answer.
        let _answered = timeout(REFUSAL_TIMEOUT, answer(&mut client, refusal)).await;
    }

    fn note(&self, refusal: EgressRefusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(reason = refusal.reason(), "the proxy of a sandbox refused a connection");
    }

    /// Reads the request, and connects to its endpoint if the allow-list has it. Returns the server
    /// and the first bytes for it.
    async fn connect(&self, client: &mut TcpStream) -> Result<(TcpStream, Vec<u8>), ConnectError> {
        client.set_nodelay(true)?;
        let mut bytes = Vec::new();
        let request = timeout(REQUEST_TIMEOUT, read_request(client, &mut bytes));
        let ProxyRequest { endpoint, mode, length } =
            request.await.map_err(|_| EgressRefusal::TooSlow)??;
        let rest = bytes.split_off(length.min(bytes.len()));
        if !self.endpoints.contains(&endpoint) {
            return Err(EgressRefusal::NotListed.into());
        }
        let addresses = {
            let _permit = self.resolving.acquire().await.map_err(|_| EgressRefusal::Unresolved)?;
            self.resolver.addresses(&endpoint).await?
        };
        let server = timeout(CONNECT_TIMEOUT, connect_any(&addresses)).await;
        let server = server.ok().flatten().ok_or(EgressRefusal::Unreachable)?;
        server.set_nodelay(true)?;
        let first = match mode {
            ProxyMode::Forward(head) => [head, rest].concat(),
            ProxyMode::Tunnel => {
                client.write_all(ESTABLISHED).await?;
                if endpoint.port == TLS_PORT {
                    check_hello(client, rest, &endpoint).await?
                } else {
                    rest
                }
            }
        };
        Ok((server, first))
    }
}

async fn read_request(
    client: &mut TcpStream,
    bytes: &mut Vec<u8>,
) -> Result<ProxyRequest, ConnectError> {
    loop {
        read_more(client, bytes, HEAD_MAX).await?;
        if let Some(request) = ProxyRequest::parse(bytes)? {
            return Ok(request);
        }
    }
}

/// Waits for the ClientHello, which must name the tunnel's host. Returns the bytes read so far.
async fn check_hello(
    client: &mut TcpStream,
    mut bytes: Vec<u8>,
    endpoint: &Endpoint,
) -> Result<Vec<u8>, ConnectError> {
    let checked = async {
        loop {
            match ClientHello::parse(&bytes) {
                ClientHello::For(name) if name == endpoint.host => return Ok(()),
                ClientHello::For(_) | ClientHello::Invalid => {
                    return Err(ConnectError::RefusedInTunnel(EgressRefusal::OtherName));
                }
                ClientHello::Incomplete => read_more(client, &mut bytes, HELLO_MAX).await?,
            }
        }
    };
    match timeout(REQUEST_TIMEOUT, checked).await {
        Ok(done) => done.map(|()| bytes),
        Err(_) => Err(ConnectError::RefusedInTunnel(EgressRefusal::TooSlow)),
    }
}

/// Reads the available bytes, up to a total of `most`.
async fn read_more(client: &mut TcpStream, bytes: &mut Vec<u8>, most: usize) -> io::Result<()> {
    let mut buffer = [0; 2048];
    let room = most.saturating_sub(bytes.len()).min(buffer.len());
    let length = client.read(buffer.get_mut(..room).unwrap_or_default()).await?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
    Ok(())
}

/// Connects to the first address that accepts.
async fn connect_any(addresses: &[SocketAddr]) -> Option<TcpStream> {
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(server) => return Some(server),
            Err(error) => {
                tracing::debug!(%address, %error, "cannot connect to an allow-listed address");
            }
        }
    }
    None
}

async fn answer(client: &mut TcpStream, refusal: EgressRefusal) -> io::Result<()> {
    client.write_all(refusal.response().as_bytes()).await?;
    client.shutdown().await?;
    tokio::io::copy(&mut client.take(REFUSED_BYTES), &mut tokio::io::sink()).await.map(drop)
}
