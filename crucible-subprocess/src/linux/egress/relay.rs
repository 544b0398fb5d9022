//! The relay of bytes between a program and a server.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The maximum number of bytes that the host buffers in each direction.
const BUFFER: usize = 16 * 1024;

/// The numbers of relayed bytes, as seen by the program.
#[derive(Debug, Default)]
pub(super) struct EgressTraffic {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// Sends `first` to the server, then relays both directions until both end or one fails.
pub(super) async fn relay(
    client: &mut TcpStream,
    server: &mut TcpStream,
    first: &[u8],
    traffic: &EgressTraffic,
) -> io::Result<()> {
    let (client_reads, client_writes) = client.split();
    let (server_reads, mut server_writes) = server.split();
    let out = async {
        traffic.sent.fetch_add(first.len() as u64, Ordering::Relaxed);
        server_writes.write_all(first).await?;
        copy(client_reads, server_writes, &traffic.sent).await
    };
    let back = copy(server_reads, client_writes, &traffic.received);
    tokio::try_join!(out, back).map(drop)
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        // Counted before the receiver has them: the program may end when it has.
        count.fetch_add(length as u64, Ordering::Relaxed);
        to.write_all(buffer.get(..length).unwrap_or_default()).await?;
    }
}
