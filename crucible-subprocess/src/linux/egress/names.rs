//! From a name to the addresses that may be connected to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::Endpoint;

use super::address::is_public;
use super::refusal::Refusal;
use crate::resolver::Resolver;

/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many addresses of a name are tried.
const TRIED_MAX: usize = 8;

/// How an engine comes from names to addresses.
#[derive(Debug)]
pub(in super::super) struct Names {
    resolver: Arc<dyn Resolver>,
    /// What the host itself said that an endpoint is: the only way to an address that is not public.
    pins: HashMap<Endpoint, SocketAddr>,
}

impl Names {
    pub(in super::super) fn new(
        resolver: Arc<dyn Resolver>,
        pins: impl IntoIterator<Item = (Endpoint, SocketAddr)>,
    ) -> Self {
        let pins =
            pins.into_iter().map(|(endpoint, address)| (normal(&endpoint), address)).collect();
        Self { resolver, pins }
    }

    /// The addresses of an endpoint of the list. They are all that is connected to: a name that changes its mind between
    /// this and the connection changes nothing.
    pub(super) async fn addresses(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Refusal> {
        if let Some(pinned) = self.pins.get(endpoint) {
            return Ok(vec![*pinned]);
        }
        let resolved = tokio::time::timeout(PATIENCE, self.resolver.resolve(&endpoint.host)).await;
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => {
                tracing::debug!(%endpoint, %error, "a name of an allow-list was not resolved");
                return Err(Refusal::Unresolved);
            }
            Err(_) => return Err(Refusal::Unresolved),
        };
        if addresses.is_empty() {
            return Err(Refusal::Unresolved);
        }
        // One is enough: whoever mixes them has something in mind.
        if !addresses.iter().copied().all(is_public) {
            return Err(Refusal::NotPublic);
        }
        let tried = addresses.into_iter().take(TRIED_MAX);
        Ok(tried.map(|address| SocketAddr::new(address, endpoint.port)).collect())
    }
}

/// An endpoint as it is compared: names know no case.
pub(super) fn normal(endpoint: &Endpoint) -> Endpoint {
    Endpoint::new(endpoint.host.to_ascii_lowercase(), endpoint.port)
}
