//! The proxy of one sandbox.

use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crucible_core::{Endpoint, EngineError};
use crucible_guest_client::errors::{protocol, setup};
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::names::{Names, normal};
use super::tunnel::House;

/// How many connections a sandbox has at once, each with two descriptors of the host's and two buffers. More wait in the
/// kernel until one ends. Browsers and package managers have fewer to all servers together.
const CONNECTIONS_MAX: usize = 32;
/// How long nothing is accepted when it cannot be: the host has no descriptor left, say.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// The proxy of one sandbox: it serves until it is stopped or dropped, in the runtime in which it was started.
#[derive(Debug)]
pub(in super::super) struct Proxy {
    house: Arc<House>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Serves what comes in by a socket that listens inside of the sandbox.
    pub(in super::super) fn start(
        door: OwnedFd,
        endpoints: &[Endpoint],
        names: Arc<Names>,
    ) -> Result<Self, EngineError> {
        if !is_a_door(&door) {
            return Err(protocol("its way out is not a TCP socket that listens", false));
        }
        let fail = |error| setup("listen inside of the sandbox", error);
        let door = StdListener::from(door);
        door.set_nonblocking(true).map_err(fail)?;
        let door = TcpListener::from_std(door).map_err(fail)?;
        let house = Arc::new(House::new(endpoints.iter().map(normal).collect(), names));
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(door, Arc::clone(&house), stop.clone()));
        Ok(Self { house, stop, task: Some(task) })
    }

    /// Ends every connection, and waits until nothing of them is left.
    pub(in super::super) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.as_mut() {
            let ended = task.await;
            self.task = None;
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!("the proxy of a sandbox panicked");
            }
        }
    }

    /// What it was for and what came of it, for people.
    pub(in super::super) fn describe(&self) -> String {
        let House { traffic, connected, refused, .. } = &*self.house;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "allow-list by proxy: {} endpoint{}; {} connected ({} bytes out, {} in), {} refused",
            self.house.size(),
            if self.house.size() == 1 { "" } else { "s" },
            count(connected),
            count(&traffic.out),
            count(&traffic.back),
            count(refused),
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // With its task go the door and every connection.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn is_a_door(socket: &OwnedFd) -> bool {
    sockopt::socket_domain(socket) == Ok(AddressFamily::INET)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        && sockopt::socket_protocol(socket) == Ok(Some(rustix::net::ipproto::TCP))
        && sockopt::socket_acceptconn(socket) == Ok(true)
}

async fn serve(door: TcpListener, house: Arc<House>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        // Only with room for one more is one accepted.
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a connection of a sandbox's proxy panicked");
            },
            accepted = door.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((client, _)) => {
                    let house = Arc::clone(&house);
                    connections.spawn(async move { house.serve(client).await });
                }
                Err(error) => {
                    tracing::debug!(%error, "the proxy of a sandbox accepts nothing");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            },
        }
    }
    drop(door);
    connections.shutdown().await;
}
