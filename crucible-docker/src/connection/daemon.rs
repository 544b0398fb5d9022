//! The daemon and its calls.

use std::sync::Arc;

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
use crate::ownership::OWNER;

use super::endpoint;
use super::error::{DAEMON, call_failed, is_gone, status, unavailable};

/// The oldest supported API version. It added private cgroup namespaces (Docker 20.10).
const API_FLOOR: (u64, u64) = (1, 41);

/// A client of the daemon, with the engine's settings. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    pub(crate) client: Docker,
    pub(crate) settings: Arc<Settings>,
    /// Its address, for messages.
    pub(crate) address: String,
}

impl Daemon {
    /// Connects, and checks the version of the API.
    pub(crate) async fn connect(settings: Settings) -> Result<(Self, SystemVersion), EngineError> {
        let (address, client) = endpoint::connect(settings.endpoint.as_deref(), settings.timeout)?;
        let version = client.version().await.map_err(|error| unavailable_at(&address, error))?;
        let api = version.api_version.as_deref().and_then(parse_api).unwrap_or_default();
        if api < API_FLOOR {
            return Err(EngineError::Unsupported {
                engine: settings.runtime.engine_name().to_owned(),
                what: format!(
                    "the daemon at {address} with API version {}\n\
                     fix: use version {}.{} (Docker 20.10) or later",
                    version.api_version.as_deref().unwrap_or("?"),
                    API_FLOOR.0,
                    API_FLOOR.1
                ),
            });
        }
        Ok((Self { client, settings: Arc::new(settings), address }, version))
    }

    /// Returns the daemon's versions.
    pub(crate) async fn version(&self) -> Result<SystemVersion, EngineError> {
        self.client.version().await.map_err(|error| unavailable_at(&self.address, error))
    }

    /// Returns the description of an image, or `None` if the daemon does not have it.
    pub(crate) async fn image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        match self.client.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(call_failed(format!("inspect image `{name}`"), error)),
        }
    }

    /// Creates a container.
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

    /// Unpacks an archive in a container that was never started. The archive is not compressed: the
    /// daemon would run a program to decompress it.
    pub(crate) async fn upload(
        &self,
        name: &str,
        directory: &str,
        archive: Bytes,
    ) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::default().path(directory).build();
        let body = bollard::body_full(archive);
        let put = self.client.upload_to_container(name, Some(options), body).await;
        put.map_err(|error| call_failed("copy the guest into a container", error))
    }

    /// Attaches to the streams of a container.
    pub(crate) async fn attach(&self, name: &str) -> Result<AttachContainerResults, EngineError> {
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self.client.attach_container(name, Some(options)).await;
        attached.map_err(|error| call_failed("attach to a container", error))
    }

    /// Starts a container.
    pub(crate) async fn start(&self, name: &str) -> Result<(), EngineError> {
        let started = self.client.start_container(name, None).await;
        started.map_err(|error| call_failed("start a container", error))
    }

    /// Returns the description of a container.
    pub(crate) async fn inspect(
        &self,
        name: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let inspected = self.client.inspect_container(name, None).await;
        inspected.map_err(|error| call_failed("inspect a container", error))
    }

    /// Kills all processes of a container. A container that does not exist or has ended is not an
    /// error.
    pub(crate) async fn kill(&self, name: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        match self.client.kill_container(name, Some(options)).await {
            Err(error) if !is_gone(&error) && status(&error) != Some(409) => {
                Err(call_failed("end a container", error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a container with its volumes, even if it runs. A container that does not exist is
    /// not an error.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.client.remove_container(name, Some(options)).await {
            Err(error) if !is_gone(&error) => Err(call_failed("remove a container", error)),
            _ => Ok(()),
        }
    }

    /// Lists the containers of all engines.
    pub(crate) async fn list(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = std::collections::HashMap::from([("label", vec![OWNER])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.client.list_containers(Some(options)).await;
        listed.map_err(|error| call_failed("list containers", error))
    }
}

fn unavailable_at(address: &str, error: bollard::errors::Error) -> EngineError {
    match unavailable(error) {
        EngineError::Unavailable { source, .. } => {
            EngineError::Unavailable { what: format!("{DAEMON} at {address}"), source }
        }
        other => other,
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
    fn api_versions_are_compared_as_numbers() {
        assert_eq!(parse_api("1.41"), Some((1, 41)));
        assert!(parse_api("1.9") < parse_api("1.41"));
        assert_eq!(parse_api("x"), None);
    }
}
