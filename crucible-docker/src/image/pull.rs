//! Image pulls.

use std::collections::BTreeMap;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use crucible_core::EngineError;
use futures::StreamExt as _;

use crate::config::{Credentials, PullProgress, PullWatcher};
use crate::connection::{Daemon, call_failed};

/// Returns the registry of an image: the part before the first slash, if it looks like a host
/// (docs.docker.com, "Image names").
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// Returns the credentials for the registry of an image.
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

/// Pulls an image. Without a tag or digest it pulls the tag `latest`, never all tags.
pub(crate) async fn pull(daemon: &Daemon, image: &str) -> Result<(), EngineError> {
    let settings = &daemon.settings;
    let name = if has_tag(image) { image.to_owned() } else { format!("{image}:latest") };
    let options = CreateImageOptionsBuilder::default().from_image(&name).build();
    let credentials = credentials_for(image, &settings.credentials);
    tracing::info!(image, "pulling an image");
    let mut messages = daemon.client.create_image(Some(options), None, credentials);
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| pull_failed(image, error))?;
        if let Some(PullWatcher(watcher)) = &settings.on_pull {
            let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
            let (done, total) = message
                .progress_detail
                .map_or((None, None), |detail| (detail.current, detail.total));
            watcher(&PullProgress {
                image: image.to_owned(),
                layer: message.id,
                status: message.status.unwrap_or_default(),
                done_bytes: bytes(done),
                total_bytes: bytes(total),
            });
        }
    }
    Ok(())
}

fn has_tag(image: &str) -> bool {
    // The colon of a port comes before a slash.
    image.contains('@') || image.rsplit('/').next().is_some_and(|name| name.contains(':'))
}

/// Returns the error of a pull. The daemon wraps a registry's refusal in an error of its own, with
/// a status or without.
fn pull_failed(image: &str, error: bollard::errors::Error) -> EngineError {
    let text = error.to_string();
    let busy = ["toomanyrequests", "Too Many Requests", "429", "timeout", "connection refused"];
    if busy.iter().any(|marker| text.contains(marker)) {
        return EngineError::Unavailable {
            what: format!("the registry of image `{image}`"),
            source: Some(error.into()),
        };
    }
    call_failed(format!("pull image `{image}`"), error)
}

#[cfg(test)]
mod tests {
    use crucible_core::Secret;

    use super::*;

    #[test]
    fn registry_is_the_part_that_looks_like_a_host() {
        for (image, expected) in [
            ("python:3.12", "docker.io"),
            ("library/python", "docker.io"),
            ("localhost/x", "localhost"),
            ("127.0.0.1:5000/x:1", "127.0.0.1:5000"),
            ("registry.example/a/b@sha256:0", "registry.example"),
        ] {
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    #[test]
    fn port_is_not_taken_for_a_tag() {
        assert!(has_tag("python:3.12") && has_tag("h:1/x:1") && has_tag("x@sha256:0"));
        assert!(!has_tag("python") && !has_tag("127.0.0.1:5000/x"));
    }

    #[test]
    fn credentials_are_for_one_registry_and_not_printed() {
        let credentials = Credentials::new("me", Secret::new("hunter2"));
        assert!(!format!("{credentials:?}").contains("hunter2"));
        let known = BTreeMap::from([("h:1".to_owned(), credentials)]);
        let found = credentials_for("h:1/x", &known).unwrap();
        assert_eq!(
            (found.username.as_deref(), found.password.as_deref()),
            (Some("me"), Some("hunter2"))
        );
        assert!(credentials_for("python", &known).is_none());
    }
}
