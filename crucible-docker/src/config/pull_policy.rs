//! The policy for pulling images, and the credentials.

use std::fmt;
use std::sync::Arc;

use crucible_core::Secret;

/// The condition under which the engine pulls an image from its registry. The proxy in
/// `deploy/docker-proxy` refuses pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Never: a missing image is an error.
    #[default]
    Never,
    /// If the daemon does not have the image.
    Missing,
    /// Once per engine and image, even if the daemon has the image: the tag may have moved.
    Always,
}

/// The credentials for a registry. The password is never printed, logged or stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password or token.
    pub password: Secret,
}

impl Credentials {
    /// Creates credentials with a user name and a password or token.
    #[must_use]
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), password }
    }
}

/// The progress of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullProgress {
    /// The image.
    pub image: String,
    /// The layer, if the progress concerns one.
    pub layer: Option<String>,
    /// The daemon's current step, such as `Downloading`.
    pub status: String,
    /// Processed bytes of the layer, if the daemon reports them.
    pub done_bytes: Option<u64>,
    /// The size of the layer, if the daemon reports it.
    pub total_bytes: Option<u64>,
}

/// The callback for the progress of pulls.
#[derive(Clone)]
pub(crate) struct PullWatcher(pub(crate) Arc<dyn Fn(&PullProgress) + Send + Sync>);

impl fmt::Debug for PullWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PullWatcher")
    }
}
