//! The settings that an engine was built with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crucible_core::Layer;

use super::device_request::DeviceRequest;
use super::pull_policy::{Credentials, PullPolicy, PullWatcher};
use super::runtime::Runtime;

/// The settings that an engine was built with. [`DockerBuilder`](crate::DockerBuilder) documents
/// each of them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: Option<String>,
    pub(crate) runtime: Runtime,
    pub(crate) image: Option<String>,
    pub(crate) images: BTreeMap<String, String>,
    pub(crate) pull: PullPolicy,
    pub(crate) credentials: BTreeMap<String, Credentials>,
    pub(crate) on_pull: Option<PullWatcher>,
    pub(crate) waived: BTreeSet<Layer>,
    pub(crate) devices: Vec<DeviceRequest>,
    pub(crate) containers_max: usize,
    pub(crate) ready_containers: usize,
    pub(crate) ready_age: Duration,
    pub(crate) cgroup_parent: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) reap_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
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
        }
    }
}
