//! Resolution of allow-listed names to addresses that the proxy may connect to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::Endpoint;

use super::egress_refusal::EgressRefusal;
use super::public_address::is_public;
use crate::resolver::Resolver;

/// The time limit for the resolution of one name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of addresses of a name that the proxy tries.
const ADDRESSES_MAX: usize = 8;

/// Resolves the names of an engine's allow-lists.
#[derive(Debug)]
pub(crate) struct EgressResolver {
    resolver: Arc<dyn Resolver>,
    /// Addresses that the host configured: the only way to an address that is not public.
    pins: HashMap<Endpoint, SocketAddr>,
}

impl EgressResolver {
    /// Creates a resolver with pinned endpoints.
    pub(crate) fn new(
        resolver: Arc<dyn Resolver>,
        pins: impl IntoIterator<Item = (Endpoint, SocketAddr)>,
    ) -> Self {
        let pins =
            pins.into_iter().map(|(endpoint, address)| (normalize(&endpoint), address)).collect();
        Self { resolver, pins }
    }

    /// Returns the addresses of an allow-listed endpoint. The proxy connects to no others, so a
    /// later change of the name has no effect.
    pub(super) async fn addresses(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Vec<SocketAddr>, EgressRefusal> {
        if let Some(pinned) = self.pins.get(endpoint) {
            return Ok(vec![*pinned]);
        }
        let resolved =
            tokio::time::timeout(RESOLVE_TIMEOUT, self.resolver.resolve(&endpoint.host)).await;
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => {
                tracing::debug!(%endpoint, %error, "cannot resolve an allow-listed name");
                return Err(EgressRefusal::Unresolved);
            }
            Err(_) => return Err(EgressRefusal::Unresolved),
        };
        if addresses.is_empty() {
            return Err(EgressRefusal::Unresolved);
        }
        // One private address is enough to refuse: a mixed answer suggests an attack.
        if !addresses.iter().copied().all(is_public) {
            return Err(EgressRefusal::NotPublic);
        }
        let tried = addresses.into_iter().take(ADDRESSES_MAX);
        Ok(tried.map(|address| SocketAddr::new(address, endpoint.port)).collect())
    }
}

/// Returns the endpoint in the form that is compared: names are case-insensitive.
pub(super) fn normalize(endpoint: &Endpoint) -> Endpoint {
    Endpoint::new(endpoint.host.to_ascii_lowercase(), endpoint.port)
}
