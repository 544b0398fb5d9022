//! The container that carries the guest program for all others.
//!
//! It is made once an engine, never started, and holds a volume without a name in which the guest is; every sandbox mounts that,
//! read-only, by `VolumesFrom`. So the program is in place before a container starts, in a root that cannot be written to (into
//! which a daemon puts no archive), and without an archive for each, which costs more than the start. The volume goes with the
//! last container that has it.

use bollard::models::ContainerCreateBody;
use bytes::Bytes;
use crucible_core::EngineError;

use crate::daemon::Daemon;
use crate::error::{failed, status};
use crate::owner::{Owner, Role};
use crate::policy::GUEST_DIRECTORY;

/// Makes a carrier with this name; its image is of no consequence, but there has to be one.
pub(crate) async fn make(
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
        labels: Some(owner.labels(Role::Carrier, None)),
        host_config: Some(bollard::models::HostConfig {
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: Some(true),
            ..bollard::models::HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    match daemon.create(name, body).await {
        Ok(()) => {}
        // A call that was given up, and carried out.
        Err(error) if status(&error) == Some(409) => {}
        Err(error) => return Err(failed("make the container that carries the guest", error)),
    }
    daemon.upload(name, GUEST_DIRECTORY, archive()?).await
}

/// The guest program as an archive.
fn archive() -> Result<Bytes, EngineError> {
    let Some(program) = crucible_guest::BINARY else {
        return Err(EngineError::Unsupported {
            engine: "docker".to_owned(),
            what: "this platform: the guest is built on Linux on x86_64 alone".to_owned(),
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
        .map_err(|error| EngineError::setup("make an archive of the guest", error))
}
