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

use super::client_hello::{self, HELLO_MAX, Hello};
use super::names::Names;
use super::pump::{Traffic, pump};
use super::refusal::Refusal;
use super::request::{HEAD_MAX, Request, Way};

/// How long a program may take for its request, and for its ClientHello.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// How long all addresses of a name together may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a program that is refused may take to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);
/// How much is read of what a program still sends after it was refused: the kernel would drop the answer otherwise.
const FAREWELL_BYTES: u64 = 64 * 1024;
/// How many names are resolved at once. getaddrinfo(3) keeps a thread each, longer than we wait for it.
const RESOLVING_MAX: usize = 4;
/// The port at which TLS is spoken, and looked at.
const TLS: u16 = 443;
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// What all connections of one sandbox share.
#[derive(Debug)]
pub(super) struct House {
    /// In lower case.
    endpoints: Vec<Endpoint>,
    names: Arc<Names>,
    resolving: Semaphore,
    pub(super) traffic: Traffic,
    pub(super) connected: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// A connection that does not come about.
enum Turned {
    /// The program is told why.
    Away(Refusal),
    /// It was told already that it is connected: all that is left is to end.
    Out(Refusal),
    /// The program has gone.
    Gone(io::Error),
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self::Away(refusal)
    }
}

impl From<io::Error> for Turned {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl House {
    pub(super) fn new(endpoints: Vec<Endpoint>, names: Arc<Names>) -> Self {
        Self {
            endpoints,
            names,
            resolving: Semaphore::new(RESOLVING_MAX),
            traffic: Traffic::default(),
            connected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// How many endpoints there are.
    pub(super) fn size(&self) -> usize {
        self.endpoints.len()
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(&self, mut client: TcpStream) {
        let served = self.connect(&mut client).await;
        let refusal = match served {
            Ok((mut server, first)) => {
                self.connected.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = pump(&mut client, &mut server, &first, &self.traffic).await {
                    tracing::debug!(%error, "a connection through the proxy broke");
                }
                return;
            }
            Err(Turned::Gone(error)) => {
                tracing::debug!(%error, "a program left the proxy before it was connected");
                return;
            }
            Err(Turned::Out(refusal)) => {
                self.note(refusal);
                return;
            }
            Err(Turned::Away(refusal)) => refusal,
        };
        // Before the program hears of it, and may end.
        self.note(refusal);
        // Whether it listens is its own affair.
        let _told = timeout(FAREWELL, tell(&mut client, refusal)).await;
    }

    fn note(&self, refusal: Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(why = refusal.words(), "the proxy of a sandbox refused a connection");
    }

    /// Reads the request, and connects to what it asks for if it may have it. Gives the server, and what it is to get first.
    async fn connect(&self, client: &mut TcpStream) -> Result<(TcpStream, Vec<u8>), Turned> {
        client.set_nodelay(true)?;
        let mut bytes = Vec::new();
        let request = timeout(REQUEST_PATIENCE, read_request(client, &mut bytes));
        let Request { endpoint, way, length } = request.await.map_err(|_| Refusal::TooSlow)??;
        let rest = bytes.split_off(length.min(bytes.len()));
        if !self.endpoints.contains(&endpoint) {
            return Err(Refusal::NotListed.into());
        }
        let addresses = {
            let _turn = self.resolving.acquire().await.map_err(|_| Refusal::Unresolved)?;
            self.names.addresses(&endpoint).await?
        };
        let server = timeout(CONNECT_PATIENCE, any_of(&addresses)).await;
        let server = server.ok().flatten().ok_or(Refusal::Unreachable)?;
        server.set_nodelay(true)?;
        let first = match way {
            Way::Forward(head) => [head, rest].concat(),
            Way::Tunnel => {
                client.write_all(ESTABLISHED).await?;
                if endpoint.port == TLS { greeted(client, rest, &endpoint).await? } else { rest }
            }
        };
        Ok((server, first))
    }
}

async fn read_request(client: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Request, Turned> {
    loop {
        read_more(client, bytes, HEAD_MAX).await?;
        if let Some(request) = Request::parse(bytes)? {
            return Ok(request);
        }
    }
}

/// Waits for the ClientHello, which must be for the name that the tunnel was asked for. Gives what has come by then.
async fn greeted(
    client: &mut TcpStream,
    mut bytes: Vec<u8>,
    endpoint: &Endpoint,
) -> Result<Vec<u8>, Turned> {
    let greeted = async {
        loop {
            match client_hello::read(&bytes) {
                Hello::For(name) if name == endpoint.host => return Ok(()),
                Hello::For(_) | Hello::No => return Err(Turned::Out(Refusal::OtherName)),
                Hello::More => read_more(client, &mut bytes, HELLO_MAX).await?,
            }
        }
    };
    match timeout(REQUEST_PATIENCE, greeted).await {
        Ok(done) => done.map(|()| bytes),
        Err(_) => Err(Turned::Out(Refusal::TooSlow)),
    }
}

/// Reads what has come, so that there are `most` bytes at most.
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

/// The first of these that answers.
async fn any_of(addresses: &[SocketAddr]) -> Option<TcpStream> {
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(server) => return Some(server),
            Err(error) => {
                tracing::debug!(%address, %error, "an address of an allow-list does not answer")
            }
        }
    }
    None
}

async fn tell(client: &mut TcpStream, refusal: Refusal) -> io::Result<()> {
    client.write_all(refusal.response().as_bytes()).await?;
    client.shutdown().await?;
    tokio::io::copy(&mut client.take(FAREWELL_BYTES), &mut tokio::io::sink()).await.map(drop)
}
