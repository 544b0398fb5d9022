//! The builder of an engine.

use std::sync::Arc;
use std::time::Duration;

use crucible_core::{EngineError, InvalidInput, Layer, Problem};

use crate::config::{
    Credentials, DeviceRequest, PullPolicy, PullProgress, PullWatcher, Runtime, Settings,
};
use crate::engine::DockerEngine;

/// Layers that cannot be waived. The engine's other guarantees depend on them, or waiving one would
/// need a call to the daemon that the proxy refuses.
const ESSENTIAL: [Layer; 9] = [
    Layer::PidNamespace,
    Layer::MountNamespace,
    Layer::NetworkNamespace,
    Layer::IpcNamespace,
    Layer::UtsNamespace,
    Layer::NoNewPrivileges,
    Layer::Capabilities,
    Layer::Rlimits,
    Layer::DedicatedUser,
];

/// Builds a [`DockerEngine`]. Closed by default:
///
/// | | default | why |
/// | --- | --- | --- |
/// | `endpoint` | `DOCKER_HOST`, else `/var/run/docker.sock`, else Podman's socket | the usual order of clients |
/// | `runtime` | the daemon's default | usually runc |
/// | `image` | none: required | the image is the file system that programs see |
/// | `pull` | [`PullPolicy::Never`] | a registry's current content should not decide what runs |
/// | layers | all layers of this engine | a missing layer is an error, never a weaker sandbox |
/// | `containers_max` | 64 | each container needs a few MiB in the daemon, and one connection |
/// | `ready_containers` | 0 | a ready container needs memory while it waits |
/// | `timeout` | 120 s | a busy daemon is slow, and it may perform a call after the client gave up |
#[derive(Debug, Clone, Default)]
pub struct DockerBuilder {
    settings: Settings,
}

impl DockerBuilder {
    /// Creates a builder with the defaults listed at [`DockerBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the address of the daemon, or of the proxy in front of it:
    /// `unix:///run/crucible/docker.sock`, `tcp://10.0.0.7:2375`, on Windows
    /// `npipe:////./pipe/docker_engine`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.settings.endpoint = Some(endpoint.into());
        self
    }

    /// Sets the runtime of the containers.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.settings.runtime = runtime;
        self
    }

    /// Sets the default image. It needs only what programs need: the engine supplies the guest.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.settings.image = Some(image.into());
        self
    }

    /// Sets the image for a language. An image that the evaluation names takes precedence.
    #[must_use]
    pub fn image_for(mut self, language: impl Into<String>, image: impl Into<String>) -> Self {
        self.settings.images.insert(language.into(), image.into());
        self
    }

    /// Sets when images are pulled.
    #[must_use]
    pub fn pull(mut self, policy: PullPolicy) -> Self {
        self.settings.pull = policy;
        self
    }

    /// Sets the credentials for pulls from a registry (`registry.example:5000`; `docker.io` for
    /// Docker Hub).
    #[must_use]
    pub fn credentials(mut self, registry: impl Into<String>, credentials: Credentials) -> Self {
        self.settings.credentials.insert(registry.into(), credentials);
        self
    }

    /// Calls `watcher` with the progress of every pull. It must not block.
    #[must_use]
    pub fn on_pull(mut self, watcher: impl Fn(&PullProgress) + Send + Sync + 'static) -> Self {
        self.settings.on_pull = Some(PullWatcher(Arc::new(watcher)));
        self
    }

    /// Waives a layer: it is *off*, and every outcome reports that. Some layers cannot be waived;
    /// [`build`](Self::build) returns an error that names them.
    #[must_use]
    pub fn waive(mut self, layer: Layer) -> Self {
        self.settings.waived.insert(layer);
        self
    }

    /// Passes devices of the host to every container.
    #[must_use]
    pub fn device(mut self, request: DeviceRequest) -> Self {
        self.settings.devices.push(request);
        self
    }

    /// Sets the maximum number of containers that exist at the same time, including containers that
    /// are being removed. Further requests wait.
    #[must_use]
    pub fn containers_max(mut self, containers: usize) -> Self {
        self.settings.containers_max = containers;
        self
    }

    /// Sets how many started containers are kept ready for each of the most recently requested
    /// combinations of image and limits. Each container is used once.
    #[must_use]
    pub fn ready_containers(mut self, containers: usize) -> Self {
        self.settings.ready_containers = containers;
        self
    }

    /// Sets how long a ready container is kept; five minutes by default.
    #[must_use]
    pub fn ready_age(mut self, age: Duration) -> Self {
        self.settings.ready_age = age;
        self
    }

    /// Sets the parent cgroup of the containers, in the notation of the daemon's cgroup driver.
    #[must_use]
    pub fn cgroup_parent(mut self, parent: impl Into<String>) -> Self {
        self.settings.cgroup_parent = Some(parent.into());
        self
    }

    /// Sets the time limit for a call to the daemon.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets how often the reaper looks for containers of dead owners; once a minute by default, and
    /// when an engine is built.
    #[must_use]
    pub fn reap_every(mut self, interval: Duration) -> Self {
        self.settings.reap_every = interval;
        self
    }

    /// Connects to the daemon, removes the containers of dead owners, and starts a first container
    /// to verify every layer.
    ///
    /// # Cancel safety
    /// After dropping the future, containers are removed in the background or by another engine.
    ///
    /// # Errors
    /// - [`EngineError::Unavailable`] if no daemon responds, with the addresses that were tried.
    /// - [`EngineError::LayerUnavailable`] with every missing layer.
    /// - [`EngineError::Unsupported`] if the image cannot be run.
    /// - [`EngineError::Invalid`] with every problem of these settings.
    pub async fn build(self) -> Result<DockerEngine, EngineError> {
        InvalidInput::check(self.problems())?;
        DockerEngine::connect(self.settings).await
    }

    /// Builds the engine like [`build`](Self::build), and blocks the thread. Callable outside of a
    /// tokio runtime and inside of one.
    ///
    /// # Errors
    /// See [`build`](Self::build).
    pub fn build_blocking(self) -> Result<DockerEngine, EngineError> {
        let failed = |error: std::io::Error| {
            EngineError::setup("start the thread that builds an engine", error)
        };
        let built = std::thread::scope(|scope| {
            let build = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(failed)?.block_on(self.build())
            };
            std::thread::Builder::new().spawn_scoped(scope, build).map(|thread| thread.join())
        });
        let panicked = |_| EngineError::Unavailable {
            what: "the thread that builds an engine".to_owned(),
            source: None,
        };
        built.map_err(failed)?.map_err(panicked)?
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn problems(&self) -> Vec<Problem> {
        let settings = &self.settings;
        let mut problems: Vec<_> = settings
            .waived
            .iter()
            .filter(|layer| ESSENTIAL.contains(layer))
            .map(|layer| {
                let message = format!("names `{layer}`, which this engine cannot run without");
                Problem::new("waive", message)
            })
            .collect();
        if settings.image.is_none() && settings.images.is_empty() {
            problems
                .push(Problem::new("image", "is missing: name one with `image` or `image_for`"));
        }
        if settings.containers_max == 0 {
            problems.push(Problem::new("containers_max", "is 0; it must be at least 1"));
        }
        if settings.ready_containers >= settings.containers_max {
            let message = format!(
                "is {}; it must be less than `containers_max`, which is {}",
                settings.ready_containers, settings.containers_max
            );
            problems.push(Problem::new("ready_containers", message));
        }
        for (field, duration) in [
            ("timeout", settings.timeout),
            ("ready_age", settings.ready_age),
            ("reap_every", settings.reap_every),
        ] {
            if duration.is_zero() {
                problems.push(Problem::new(field, "is zero"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(builder: &DockerBuilder) -> Vec<String> {
        builder.problems().into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn build_reports_all_problems_together() {
        let builder = DockerBuilder::new()
            .waive(Layer::Capabilities)
            .waive(Layer::Seccomp)
            .containers_max(0)
            .timeout(Duration::ZERO);
        assert_eq!(
            fields(&builder),
            ["waive", "image", "containers_max", "ready_containers", "timeout"]
        );
        assert!(fields(&DockerBuilder::new().image("x")).is_empty());
        assert!(fields(&DockerBuilder::new().image_for("python", "x")).is_empty());
        assert_eq!(
            fields(&DockerBuilder::new().image("x").ready_containers(64)),
            ["ready_containers"]
        );
    }
}
