//! The volume with the guest program, shared by all containers of an engine.
//!
//! One container per engine holds the volume. It is created and never started, and the volume has
//! no name. Every sandbox mounts the volume read-only with `VolumesFrom`. So the guest program is
//! in place before a container starts, although the root file system is read-only and the daemon
//! cannot unpack an archive there. An archive per container would take longer than the start. The
//! volume disappears with the last container that uses it.

use bollard::models::{ContainerCreateBody, HostConfig};
use bytes::Bytes;
use crucible_core::EngineError;
use tokio::sync::Mutex;

use crate::connection::{Daemon, call_failed, status};
use crate::ownership::{ContainerRole, Owner};

use super::container_policy::GUEST_DIRECTORY;

/// The container that holds the guest program, by name. It is created when the first sandbox needs
/// it.
#[derive(Debug, Default)]
pub(super) struct AgentVolume {
    container: Mutex<Option<String>>,
}

impl AgentVolume {
    /// Returns the name of the container. If there is none, creates it under `new_name`.
    pub(super) async fn get_or_create(
        &self,
        daemon: &Daemon,
        owner: &Owner,
        image: &str,
        new_name: impl FnOnce() -> String + Send,
        discard: impl FnOnce(String) + Send,
    ) -> Result<String, EngineError> {
        let mut container = self.container.lock().await;
        if let Some(name) = &*container {
            return Ok(name.clone());
        }
        let name = new_name();
        if let Err(error) = create(daemon, owner, &name, image).await {
            discard(name);
            return Err(error);
        }
        *container = Some(name.clone());
        Ok(name)
    }

    /// Clears the name of a container that no longer exists.
    pub(super) async fn invalidate(&self, name: &str) {
        let mut container = self.container.lock().await;
        if container.as_deref() == Some(name) {
            *container = None;
        }
    }

    /// Takes the name of the container for its removal.
    pub(super) fn take(&mut self) -> Option<String> {
        self.container.get_mut().take()
    }
}

/// Creates the container. A container needs an image, but this one never runs.
async fn create(
    daemon: &Daemon,
    owner: &Owner,
    name: &str,
    image: &str,
) -> Result<(), EngineError> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![format!("{GUEST_DIRECTORY}/guest")]),
        cmd: Some(Vec::new()),
        volumes: Some(vec![GUEST_DIRECTORY.to_owned()]),
        network_disabled: Some(true),
        labels: Some(owner.labels(ContainerRole::AgentVolume, None)),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: Some(true),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    match daemon.create(name, body).await {
        Ok(()) => {}
        // The daemon performed an earlier call, and its response was lost.
        Err(error) if status(&error) == Some(409) => {}
        Err(error) => return Err(call_failed("create the volume for the guest", error)),
    }
    daemon.upload(name, GUEST_DIRECTORY, archive()?).await
}

/// Returns the guest program as a tar archive.
fn archive() -> Result<Bytes, EngineError> {
    let Some(program) = crucible_guest::BINARY else {
        return Err(EngineError::Unsupported {
            engine: "docker".to_owned(),
            what: "this platform: the guest is built only on Linux on x86_64".to_owned(),
        });
    };
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o555);
    header.set_uid(0);
    header.set_gid(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, "guest", program)
        .and_then(|()| archive.into_inner())
        .map(Bytes::from)
        .map_err(|error| EngineError::setup("create the archive of the guest", error))
}
