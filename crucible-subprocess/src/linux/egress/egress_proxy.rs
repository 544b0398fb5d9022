//! The proxy of one sandbox.

use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crucible_core::{Endpoint, EngineError};
use crucible_guest_client::errors::{protocol, setup};
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::connection_handler::ConnectionHandler;
use super::egress_resolver::{EgressResolver, normalize};

/// The maximum number of open connections of a sandbox, each with two descriptors of the host and
/// two buffers. Browsers and package managers open fewer in total. More connections wait in the
/// kernel.
const CONNECTIONS_MAX: usize = 32;
/// The pause of the proxy after a failed accept, for example without free descriptors.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The proxy of one sandbox. It runs in the runtime that started it, until it is stopped or
/// dropped.
#[derive(Debug)]
pub(crate) struct EgressProxy {
    handler: Arc<ConnectionHandler>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl EgressProxy {
    /// Starts a proxy on a socket that listens inside of the sandbox.
    pub(crate) fn start(
        listener: OwnedFd,
        endpoints: &[Endpoint],
        resolver: Arc<EgressResolver>,
    ) -> Result<Self, EngineError> {
        if !is_tcp_listener(&listener) {
            return Err(protocol("its egress listener is not a listening TCP socket", false));
        }
        let fail = |error| setup("listen inside of the sandbox", error);
        let listener = StdListener::from(listener);
        listener.set_nonblocking(true).map_err(fail)?;
        let listener = TcpListener::from_std(listener).map_err(fail)?;
        let endpoints = endpoints.iter().map(normalize).collect();
        let handler = Arc::new(ConnectionHandler::new(endpoints, resolver));
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, Arc::clone(&handler), stop.clone()));
        Ok(Self { handler, stop, task: Some(task) })
    }

    /// Closes every connection, and waits until the proxy's tasks have ended.
    pub(crate) async fn stop(&mut self) {
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

    /// Describes the proxy and its traffic, for people.
    pub(crate) fn describe(&self) -> String {
        let ConnectionHandler { traffic, connected, refused, .. } = &*self.handler;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let endpoints = self.handler.endpoint_count();
        format!(
            "allow-list by proxy: {endpoints} endpoint{}; {} connected ({} bytes out, {} in), {} \
             refused",
            if endpoints == 1 { "" } else { "s" },
            count(connected),
            count(&traffic.sent),
            count(&traffic.received),
            count(refused),
        )
    }
}

impl Drop for EgressProxy {
    fn drop(&mut self) {
        // The task owns the listener and every connection.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn is_tcp_listener(socket: &OwnedFd) -> bool {
    sockopt::socket_domain(socket) == Ok(AddressFamily::INET)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        && sockopt::socket_protocol(socket) == Ok(Some(rustix::net::ipproto::TCP))
        && sockopt::socket_acceptconn(socket) == Ok(true)
}

async fn serve(listener: TcpListener, handler: Arc<ConnectionHandler>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        // The proxy accepts a connection only if it has room for it.
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a connection of a sandbox's proxy panicked");
            },
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((client, _)) => {
                    let handler = Arc::clone(&handler);
                    connections.spawn(async move { handler.serve(client).await });
                }
                Err(error) => {
                    tracing::debug!(%error, "the proxy of a sandbox cannot accept");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}
