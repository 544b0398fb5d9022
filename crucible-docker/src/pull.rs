//! Pulling images.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use crucible_core::{EngineError, Secret};
use futures::StreamExt as _;

use crate::daemon::Daemon;
use crate::error::failed;

/// When images are pulled from their registry. The narrow proxy in `deploy/docker-proxy` lets nobody pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Never: an image that is not there is an error.
    #[default]
    Never,
    /// If it is not there.
    Missing,
    /// Once for each engine and image, whether it is there or not: a tag may have moved.
    Always,
}

/// What a registry is told. The password is never printed, logged or stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password or token.
    pub password: Secret,
}

impl Credentials {
    /// A user with a password or token.
    #[must_use]
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), password }
    }
}

/// How far a pull has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullProgress {
    /// The image.
    pub image: String,
    /// The layer that it is about, if it is about one.
    pub layer: Option<String>,
    /// What the daemon does: `Downloading`.
    pub status: String,
    /// Bytes of the layer that are done, if it says.
    pub done_bytes: Option<u64>,
    /// Bytes of the layer in all, if it says.
    pub total_bytes: Option<u64>,
}

type Watcher = dyn Fn(&PullProgress) + Send + Sync;

/// Who is told of progress.
#[derive(Clone)]
pub(crate) struct OnPull(pub(crate) Arc<Watcher>);

impl fmt::Debug for OnPull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnPull")
    }
}

/// The registry of an image: what comes before the first slash, if it looks like a host (docs.docker.com, "Image names").
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// What the daemon is to tell the registry of an image.
fn credentials_for(
    image: &str,
    known: &BTreeMap<String, Credentials>,
) -> Option<DockerCredentials> {
    let registry = registry(image);
    let Credentials { user, password } = known.get(registry)?;
    Some(DockerCredentials {
        username: Some(user.clone()),
        password: password.reveal().map(str::to_owned),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    })
}

/// Pulls an image. Without a tag or digest it is the one with the tag `latest`, never all there are.
pub(crate) async fn pull(daemon: &Daemon, image: &str) -> Result<(), EngineError> {
    let settings = &daemon.settings;
    let name = if has_tag(image) { image.to_owned() } else { format!("{image}:latest") };
    let options = CreateImageOptionsBuilder::default().from_image(&name).build();
    let credentials = credentials_for(image, &settings.credentials);
    tracing::info!(image, "pulling an image");
    let mut words = daemon.client.create_image(Some(options), None, credentials);
    while let Some(word) = words.next().await {
        let word = word.map_err(|error| refused(image, error))?;
        if let Some(OnPull(watcher)) = &settings.on_pull {
            let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
            let (done, total) = word.progress_detail.map_or((None, None), |p| (p.current, p.total));
            watcher(&PullProgress {
                image: image.to_owned(),
                layer: word.id,
                status: word.status.unwrap_or_default(),
                done_bytes: bytes(done),
                total_bytes: bytes(total),
            });
        }
    }
    Ok(())
}

fn has_tag(image: &str) -> bool {
    // A port comes before a slash.
    image.contains('@') || image.rsplit('/').next().is_some_and(|name| name.contains(':'))
}

/// What a registry says of too many requests comes through the daemon as an error of its own, with a status or without.
fn refused(image: &str, error: bollard::errors::Error) -> EngineError {
    let text = error.to_string();
    let busy = ["toomanyrequests", "Too Many Requests", "429", "timeout", "connection refused"];
    if busy.iter().any(|word| text.contains(word)) {
        return EngineError::Unavailable {
            what: format!("the registry of image `{image}`"),
            source: Some(error.into()),
        };
    }
    failed(format!("pull image `{image}`"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_what_looks_like_a_host() {
        for (image, wanted) in [
            ("python:3.12", "docker.io"),
            ("library/python", "docker.io"),
            ("localhost/x", "localhost"),
            ("127.0.0.1:5000/x:1", "127.0.0.1:5000"),
            ("registry.example/a/b@sha256:0", "registry.example"),
        ] {
            assert_eq!(registry(image), wanted, "{image}");
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        assert!(has_tag("python:3.12") && has_tag("h:1/x:1") && has_tag("x@sha256:0"));
        assert!(!has_tag("python") && !has_tag("127.0.0.1:5000/x"));
    }

    #[test]
    fn credentials_go_to_their_registry_alone_and_are_not_printed() {
        let credentials = Credentials::new("me", Secret::new("hunter2"));
        assert!(!format!("{credentials:?}").contains("hunter2"));
        let known = BTreeMap::from([("h:1".to_owned(), credentials)]);
        let told = credentials_for("h:1/x", &known).unwrap();
        assert_eq!(
            (told.username.as_deref(), told.password.as_deref()),
            (Some("me"), Some("hunter2"))
        );
        assert!(credentials_for("python", &known).is_none());
    }
}
