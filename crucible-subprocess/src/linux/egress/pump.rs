//! Bytes from one side to the other, and back.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many bytes are in the host's hands at once, in each direction.
const BUFFER: usize = 16 * 1024;

/// Bytes that were taken on.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) out: AtomicU64,
    pub(super) back: AtomicU64,
}

/// Passes `first` and then everything on, until both sides have ended or one breaks.
pub(super) async fn pump(
    client: &mut TcpStream,
    server: &mut TcpStream,
    first: &[u8],
    traffic: &Traffic,
) -> io::Result<()> {
    let (client_reads, client_writes) = client.split();
    let (server_reads, mut server_writes) = server.split();
    let there = async {
        traffic.out.fetch_add(first.len() as u64, Ordering::Relaxed);
        server_writes.write_all(first).await?;
        pass(client_reads, server_writes, &traffic.out).await
    };
    let back = pass(server_reads, client_writes, &traffic.back);
    tokio::try_join!(there, back).map(drop)
}

async fn pass(
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
        // Before anybody has them, and may end.
        count.fetch_add(length as u64, Ordering::Relaxed);
        to.write_all(buffer.get(..length).unwrap_or_default()).await?;
    }
}
