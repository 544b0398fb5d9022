//! The daemon: how it is reached, and the few calls that are made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::container::AttachContainerResults;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ImageInspect, SystemVersion,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use crucible_core::EngineError;

use crate::config::Settings;
use crate::error::{DAEMON, failed, is_gone, unavailable};
use crate::owner::OWNER;

/// The oldest API with everything that is asked for: private cgroup namespaces came with it (Docker 20.10).
const API_FLOOR: (u64, u64) = (1, 41);
/// Where daemons listen, as a rule.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// A daemon, and what an engine was made with. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    pub(crate) client: Docker,
    pub(crate) settings: Arc<Settings>,
    /// Where it is, for messages.
    pub(crate) place: String,
}

impl Daemon {
    /// Connects, and asks for its version.
    pub(crate) async fn connect(settings: Settings) -> Result<(Self, SystemVersion), EngineError> {
        let (place, client) = reach(settings.endpoint.as_deref(), settings.timeout)?;
        let version = client.version().await.map_err(|error| away(&place, error))?;
        let api = version.api_version.as_deref().and_then(parse_api).unwrap_or_default();
        if api < API_FLOOR {
            return Err(EngineError::Unsupported {
                engine: settings.runtime.engine_name().to_owned(),
                what: format!(
                    "the daemon at {place}, which has version {} of the API; version {}.{} (Docker 20.10) is the least",
                    version.api_version.as_deref().unwrap_or("?"),
                    API_FLOOR.0,
                    API_FLOOR.1
                ),
            });
        }
        Ok((Self { client, settings: Arc::new(settings), place }, version))
    }

    pub(crate) async fn version(&self) -> Result<SystemVersion, EngineError> {
        self.client.version().await.map_err(|error| away(&self.place, error))
    }

    /// `None` if it is not there.
    pub(crate) async fn image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        match self.client.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if crate::error::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed(format!("look at image `{name}`"), error)),
        }
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<(), bollard::errors::Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = self.client.create_container(Some(options), body).await?;
        for warning in made.warnings {
            tracing::warn!(container = name, warning, "the daemon warns");
        }
        Ok(())
    }

    /// Puts an archive into a container that was never started. It is not compressed: a daemon runs a program to open one that is.
    pub(crate) async fn upload(
        &self,
        name: &str,
        directory: &str,
        archive: Bytes,
    ) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::default().path(directory).build();
        let body = bollard::body_full(archive);
        let put = self.client.upload_to_container(name, Some(options), body).await;
        put.map_err(|error| failed("put the guest into a container", error))
    }

    pub(crate) async fn attach(&self, name: &str) -> Result<AttachContainerResults, EngineError> {
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self.client.attach_container(name, Some(options)).await;
        attached.map_err(|error| failed("attach to a container", error))
    }

    pub(crate) async fn start(&self, name: &str) -> Result<(), EngineError> {
        let started = self.client.start_container(name, None).await;
        started.map_err(|error| failed("start a container", error))
    }

    pub(crate) async fn inspect(
        &self,
        name: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let looked = self.client.inspect_container(name, None).await;
        looked.map_err(|error| failed("look at a container", error))
    }

    /// Ends a container by its cgroup. One that is not there, or has ended, is fine.
    pub(crate) async fn kill(&self, name: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        match self.client.kill_container(name, Some(options)).await {
            Err(error) if !is_gone(&error) && crate::error::status(&error) != Some(409) => {
                Err(failed("end a container", error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a container, whatever it does, with its volumes. One that is not there is fine.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.client.remove_container(name, Some(options)).await {
            Err(error) if !is_gone(&error) => Err(failed("remove a container", error)),
            _ => Ok(()),
        }
    }

    /// All containers of all engines.
    pub(crate) async fn list(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = std::collections::HashMap::from([("label", vec![OWNER])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.client.list_containers(Some(options)).await;
        listed.map_err(|error| failed("list containers", error))
    }
}

fn away(place: &str, error: bollard::errors::Error) -> EngineError {
    match unavailable(error) {
        EngineError::Unavailable { source, .. } => {
            EngineError::Unavailable { what: format!("{DAEMON} at {place}"), source }
        }
        other => other,
    }
}

/// A client for the endpoint that was named, or for the first that is there.
fn reach(endpoint: Option<&str>, timeout: Duration) -> Result<(String, Docker), EngineError> {
    let named = endpoint
        .map(str::to_owned)
        .or_else(|| std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty()));
    let candidates = match named {
        Some(named) => vec![named],
        None => sockets(),
    };
    let mut last = None;
    for candidate in &candidates {
        match Docker::connect_with_host(candidate) {
            Ok(client) => return Ok((candidate.clone(), client.with_timeout(timeout))),
            Err(error) => last = Some(error),
        }
    }
    Err(EngineError::Unavailable {
        what: format!("{DAEMON} (tried {})", candidates.join(", ")),
        source: last.map(Into::into),
    })
}

/// Where daemons may listen on this machine: those that are there, or else all.
fn sockets() -> Vec<String> {
    #[cfg(windows)]
    return vec!["npipe:////./pipe/docker_engine".to_owned()];
    #[cfg(not(windows))]
    {
        let mut paths = vec![DOCKER_SOCKET.to_owned()];
        if let Ok(runtime) = std::env::var("XDG_RUNTIME_DIR") {
            paths.push(format!("{runtime}/docker.sock"));
            paths.push(format!("{runtime}/podman/podman.sock"));
        }
        paths.push("/run/podman/podman.sock".to_owned());
        let there: Vec<_> = paths.iter().filter(|path| Path::new(path).exists()).cloned().collect();
        let paths = if there.is_empty() { paths } else { there };
        paths.into_iter().map(|path| format!("unix://{path}")).collect()
    }
}

fn parse_api(version: &str) -> Option<(u64, u64)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_are_numbers() {
        assert_eq!(parse_api("1.41"), Some((1, 41)));
        assert!(parse_api("1.9") < parse_api("1.41"));
        assert_eq!(parse_api("x"), None);
    }

    #[test]
    fn what_was_tried_is_said() {
        let error = reach(Some("unix:///no/such/socket"), Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), crucible_core::EngineErrorKind::Unavailable);
        assert!(error.to_string().contains("unix:///no/such/socket"), "{error}");
        assert!(reach(Some("gopher://x"), Duration::from_secs(1)).is_err());
    }
}
