//! How the names of allow-lists become addresses.

use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// How the names of allow-lists become addresses. Programs in sandboxes resolve nothing themselves: the host does, for each
/// connection, and connects to the very addresses that it has checked.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// The addresses of a host.
    ///
    /// # Behavior
    /// - `host` is a name of an allow-list in lower case, without a trailing dot, and is absolute: no search domain is tried.
    /// - Addresses that are not public need not be left out: a name that has one is refused as a whole.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// Whatever stood in the way.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The host's own resolver (getaddrinfo(3)).
#[derive(Debug)]
pub(crate) struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        // With its final dot no search domain is tried.
        let found = tokio::net::lookup_host((format!("{host}."), 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}
