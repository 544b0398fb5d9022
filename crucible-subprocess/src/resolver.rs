//! Resolution of the names in allow-lists.

use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// Resolution of the names in allow-lists.
///
/// Programs in sandboxes resolve no names. The host resolves them for each connection, and connects
/// to exactly the addresses that it has checked.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// Returns the addresses of a host.
    ///
    /// # Behavior
    /// - `host` is an allow-listed name in lower case without a trailing dot. It is absolute: the
    ///   resolver applies no search domain.
    /// - The resolver may return addresses that are not public. The engine then refuses the name.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Fails if the name cannot be resolved.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The host's own resolver (getaddrinfo(3)).
#[derive(Debug)]
pub(crate) struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        // The final dot disables search domains.
        let found = tokio::net::lookup_host((format!("{host}."), 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}
