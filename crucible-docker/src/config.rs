//! How an engine is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{EngineError, InvalidInput, Layer, Problem};

use crate::device::DeviceRequest;
use crate::engine::DockerEngine;
use crate::pull::{Credentials, OnPull, PullPolicy, PullProgress};
use crate::runtime::Runtime;

/// Layers that this engine is built on: without one of them it could not keep its other promises, or the daemon would have to be
/// asked for what no engine should ask for.
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

/// What an engine was made with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: Option<String>,
    pub(crate) runtime: Runtime,
    pub(crate) image: Option<String>,
    pub(crate) images: BTreeMap<String, String>,
    pub(crate) pull: PullPolicy,
    pub(crate) credentials: BTreeMap<String, Credentials>,
    pub(crate) on_pull: Option<OnPull>,
    pub(crate) waived: BTreeSet<Layer>,
    pub(crate) devices: Vec<DeviceRequest>,
    pub(crate) containers_max: usize,
    pub(crate) ready_containers: usize,
    pub(crate) ready_age: Duration,
    pub(crate) cgroup_parent: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) reap_every: Duration,
}

/// How a [`DockerEngine`] is made. Closed by default:
///
/// | | default | why |
/// | --- | --- | --- |
/// | `endpoint` | `DOCKER_HOST`, else `/var/run/docker.sock`, else Podman's socket | what every client looks at |
/// | `runtime` | the daemon's own | runc, as a rule |
/// | `image` | none: it has to be named | an image is what programs see of the world |
/// | `pull` | [`PullPolicy::Never`] | what runs should not depend on what a registry says today |
/// | layers | all that this engine has | a layer that is missing is an error, never a weaker sandbox |
/// | `containers_max` | 64 | each holds a few MiB of the daemon's memory, and one connection |
/// | `warm` | 0 | a warm container holds memory while it waits |
/// | `timeout` | 120 s | a busy daemon takes long, and a call that was given up may be carried out all the same |
#[derive(Debug, Clone)]
pub struct DockerBuilder {
    settings: Settings,
}

impl Default for DockerBuilder {
    fn default() -> Self {
        Self {
            settings: Settings {
                endpoint: None,
                runtime: Runtime::Default,
                image: None,
                images: BTreeMap::new(),
                pull: PullPolicy::Never,
                credentials: BTreeMap::new(),
                on_pull: None,
                waived: BTreeSet::new(),
                devices: Vec::new(),
                containers_max: 64,
                ready_containers: 0,
                ready_age: Duration::from_secs(5 * 60),
                cgroup_parent: None,
                timeout: Duration::from_secs(120),
                reap_every: Duration::from_secs(60),
            },
        }
    }
}

impl DockerBuilder {
    /// The defaults listed at [`DockerBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the daemon, or the proxy in front of it: `unix:///run/crucible/docker.sock`, `tcp://10.0.0.7:2375`, on Windows
    /// `npipe:////./pipe/docker_engine`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.settings.endpoint = Some(endpoint.into());
        self
    }

    /// Sets what makes the containers.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.settings.runtime = runtime;
        self
    }

    /// Names the image for everything that has no other. It needs nothing but what programs need: the guest brings itself.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.settings.image = Some(image.into());
        self
    }

    /// Names the image for a language. An evaluation that names one goes first.
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

    /// Sets what a registry (`registry.example:5000`; `docker.io` for Docker's own) is told when an image is pulled from it.
    #[must_use]
    pub fn credentials(mut self, registry: impl Into<String>, credentials: Credentials) -> Self {
        self.settings.credentials.insert(registry.into(), credentials);
        self
    }

    /// Calls `watcher` with the progress of every pull. It must not block.
    #[must_use]
    pub fn on_pull(mut self, watcher: impl Fn(&PullProgress) + Send + Sync + 'static) -> Self {
        self.settings.on_pull = Some(OnPull(Arc::new(watcher)));
        self
    }

    /// Gives a layer up: it is *off*, and every outcome says so. Some layers cannot be given up; then [`build`](Self::build) says
    /// which.
    #[must_use]
    pub fn waive(mut self, layer: Layer) -> Self {
        self.settings.waived.insert(layer);
        self
    }

    /// Passes devices of the host on to every container.
    #[must_use]
    pub fn device(mut self, request: DeviceRequest) -> Self {
        self.settings.devices.push(request);
        self
    }

    /// Sets how many containers there may be at once, those that are being removed among them. Whoever asks for one more waits.
    #[must_use]
    pub fn containers_max(mut self, containers: usize) -> Self {
        self.settings.containers_max = containers;
        self
    }

    /// Keeps as many started containers ready for each of the images and limits that were asked for last. Each is used once.
    #[must_use]
    pub fn ready_containers(mut self, containers: usize) -> Self {
        self.settings.ready_containers = containers;
        self
    }

    /// Sets how long a container may wait to be used; five minutes by default.
    #[must_use]
    pub fn ready_age(mut self, age: Duration) -> Self {
        self.settings.ready_age = age;
        self
    }

    /// Names the cgroup beneath which the daemon makes those of the containers, as its cgroup driver has it.
    #[must_use]
    pub fn cgroup_parent(mut self, parent: impl Into<String>) -> Self {
        self.settings.cgroup_parent = Some(parent.into());
        self
    }

    /// Sets how long the daemon may take to answer a call.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets how often what dead owners left is looked for; once a minute by default, and when an engine is made.
    #[must_use]
    pub fn reap_every(mut self, interval: Duration) -> Self {
        self.settings.reap_every = interval;
        self
    }

    /// Connects, and makes a first container to see that every layer holds; removes what dead owners left.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind that the engine's end, or another engine, does not remove.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if there is no daemon, with what was tried; [`EngineError::LayerUnavailable`] names every layer
    /// that cannot be had; [`EngineError::Unsupported`] an image that cannot be run; [`EngineError::Invalid`] what is wrong with
    /// these settings.
    pub async fn build(self) -> Result<DockerEngine, EngineError> {
        InvalidInput::check(self.problems())?;
        DockerEngine::connect(self.settings).await
    }

    /// The same as [`build`](Self::build), for whoever is not in a tokio runtime, or in one that must not be given up: blocks the thread.
    ///
    /// # Errors
    /// See [`build`](Self::build).
    pub fn build_blocking(self) -> Result<DockerEngine, EngineError> {
        let failed = |error: std::io::Error| {
            EngineError::setup("start a thread that makes an engine", error)
        };
        let built = std::thread::scope(|scope| {
            let build = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(failed)?.block_on(self.build())
            };
            std::thread::Builder::new().spawn_scoped(scope, build).map(|thread| thread.join())
        });
        let panicked = |_| EngineError::Unavailable {
            what: "the thread that made an engine".to_owned(),
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
                let message =
                    format!("names `{layer}`, without which this engine cannot run anything");
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
    fn every_problem_is_named_at_once() {
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
