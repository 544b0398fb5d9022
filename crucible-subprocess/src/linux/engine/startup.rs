//! The creation of an engine: it collects the host's resources, or reports the missing layers.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crucible_core::{
    Enforcement, EngineError, EngineInfo, InvalidInput, Layer, LayerStatus, UnavailableMechanism,
};
use crucible_guest::protocol::InitFlags;
use crucible_guest_client::errors::setup;

use super::engine_state::EngineState;
use super::layer_errors::{explain, layer_of, no_dedicated_user, no_landlock};
use super::probe::probe_sandbox;
use super::subprocess_engine::SubprocessEngine;
use crate::ENGINE_NAME;
use crate::config::SubprocessBuilder;
use crate::linux::audit::Auditor;
use crate::linux::cgroup::{self, CgroupController, CgroupPool, CgroupRoot};
use crate::linux::egress::EgressResolver;
use crate::linux::interpreter::ReadyLanguage;
use crate::linux::pool::{ReadyCache, ReadyCacheConfig};
use crate::linux::resources::{AllocatorParts, ResourceAllocator, UserIdPool};
use crate::linux::sandbox::{ContextParts, SandboxContext};
use crate::linux::spawner::{Spawner, SpawnerConfig, TemplatePlan};
use crate::linux::sys::HostInfo;
use crate::linux::teardown::Reaper;

impl SubprocessEngine {
    /// Creates an engine, and opens a first sandbox to check every layer.
    pub(crate) fn from_builder(builder: SubprocessBuilder) -> Result<Self, EngineError> {
        let languages: Vec<_> = builder
            .ready_interpreters
            .into_iter()
            .map(|(language, modules)| ReadyLanguage::new(language, modules))
            .collect();
        InvalidInput::check(languages.iter().flat_map(ReadyLanguage::problems).collect())?;
        let waived = builder.waived;
        let host = HostInfo::read();
        let (roots, ids) =
            find_resources(&host, &builder.cgroup_parent, &builder.runtime_directory, &waived)?;
        let cgroups = if roots.is_empty() {
            None
        } else {
            let pool = CgroupPool::new(roots);
            Some(pool.map_err(|error| setup("create the engine's cgroups", error))?)
        };
        let auditor = Auditor::start().map_err(|error| setup("start the auditor", error))?;
        let auditor = Arc::new(auditor);
        let config = spawner_config(&host, &waived, TemplatePlan::new(&builder.root)?);
        let spawner =
            Spawner::start(config, Arc::clone(&auditor)).map_err(|error| explain(error, &host))?;
        let enforcement = enforcement(&host, &waived, cgroups.as_ref(), &ids, &auditor);
        let info = engine_info(enforcement.clone(), &waived);
        let allocator = Arc::new(ResourceAllocator::new(AllocatorParts {
            tcp_spawner: spawner.dormant_with(InitFlags::INET),
            spawner,
            auditor,
            ids,
            cgroups,
            // An ordinary user's spawner owns its namespaces. Every sandbox in one could change it.
            pools_networks: host.is_root() && !waived.contains(&Layer::NetworkNamespace),
            host,
            waived,
        }));
        let cache = ReadyCacheConfig {
            sandboxes: builder.ready_sandboxes,
            slots: builder.slots,
            slot_sharing: builder.slot_sharing,
            languages,
            interpreters: builder.ready_interpreter_count,
            age_max: builder.ready_age,
        };
        let cache = Arc::new(ReadyCache::new(cache, &allocator)?);
        let reaper = Reaper::start(Arc::clone(&allocator), Arc::clone(&cache))
            .map_err(|error| setup("start the reaper", error))?;
        let parts = ContextParts {
            allocator,
            slots: cache.slot_owner(),
            resolver: Arc::new(EgressResolver::new(builder.resolver, builder.pins)),
            enforcement,
            drain_deadline: builder.drain_deadline,
        };
        let context = Arc::new(SandboxContext::new(parts, reaper));
        probe_sandbox(&context).map_err(|error| explain(error, context.allocator.host()))?;
        Ok(Self { state: Arc::new(EngineState { info, context, cache }) })
    }
}

/// Finds the cgroup roots and the user ids of the engine.
///
/// # Errors
/// Fails with every missing layer if any is missing.
fn find_resources(
    host: &HostInfo,
    cgroup_parent: &Path,
    runtime_directory: &Path,
    waived: &BTreeSet<Layer>,
) -> Result<(Vec<(CgroupController, CgroupRoot)>, UserIdPool), EngineError> {
    let mut missing = Vec::new();
    let roots = find_cgroups(cgroup_parent, waived, &mut missing);
    if host.landlock_abi.is_none() && !waived.contains(&Layer::Landlock) {
        missing.push(no_landlock());
    }
    let ids = find_ids(host, runtime_directory, waived, &mut missing);
    if let Some(obstacle) = host.user_namespace_obstacle()
        && obstacle.is_certain
    {
        let layer = Layer::UserNamespace;
        missing.push(UnavailableMechanism::new(layer, obstacle.reason, obstacle.fix));
    }
    match ids {
        Some(ids) if missing.is_empty() => Ok((roots, ids)),
        _ => {
            cgroup::remove_unused(roots.iter().map(|(_, root)| root));
            Err(EngineError::LayerUnavailable { missing })
        }
    }
}

/// Finds the cgroup roots. Adds the controllers that are neither available nor waived to `missing`.
fn find_cgroups(
    parent: &Path,
    waived: &BTreeSet<Layer>,
    missing: &mut Vec<UnavailableMechanism>,
) -> Vec<(CgroupController, CgroupRoot)> {
    let wanted: Vec<_> = CgroupController::ALL
        .into_iter()
        .filter(|controller| !waived.contains(&layer_of(*controller)))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut roots = Vec::new();
    for (controller, root) in cgroup::detect(parent, &wanted) {
        match root {
            Ok(root) => roots.push((controller, root)),
            Err(obstacle) => {
                let layer = layer_of(controller);
                missing.push(UnavailableMechanism::new(layer, obstacle.reason, obstacle.fix));
            }
        }
    }
    roots
}

/// Finds the user ids of sandboxes. An ordinary user has only one.
fn find_ids(
    host: &HostInfo,
    directory: &Path,
    waived: &BTreeSet<Layer>,
    missing: &mut Vec<UnavailableMechanism>,
) -> Option<UserIdPool> {
    let is_waived = waived.contains(&Layer::DedicatedUser);
    match (host.is_root(), is_waived) {
        (true, false) => match UserIdPool::claim(directory) {
            Ok(ids) => Some(ids),
            Err(error) => {
                let reason = format!("{}: {error}", directory.display());
                let fix = "set `runtime_directory` to a writable directory";
                missing.push(UnavailableMechanism::new(Layer::DedicatedUser, reason, fix));
                None
            }
        },
        (true, true) => Some(UserIdPool::shared_by_root()),
        (false, true) => Some(UserIdPool::single()),
        (false, false) => {
            missing.push(no_dedicated_user(host));
            None
        }
    }
}

fn spawner_config(
    host: &HostInfo,
    waived: &BTreeSet<Layer>,
    template: TemplatePlan,
) -> SpawnerConfig {
    let mut flags = InitFlags::default();
    if !host.is_root() {
        flags = flags.with(InitFlags::OWN_USER_NAMESPACE);
    }
    if !waived.contains(&Layer::Seccomp) {
        flags = flags.with(InitFlags::SECCOMP);
    }
    SpawnerConfig { flags, uid: host.uid, gid: host.gid, template }
}

fn engine_info(enforcement: Enforcement, waived: &BTreeSet<Layer>) -> EngineInfo {
    let info = EngineInfo::new(ENGINE_NAME, enforcement);
    // Without network namespaces, programs have the host's interfaces. Without seccomp, they have
    // UDP and raw sockets.
    if waived.contains(&Layer::NetworkNamespace) || waived.contains(&Layer::Seccomp) {
        info
    } else {
        info.with_allow_lists()
    }
}

/// Returns the report of the layers that the engine enforces.
fn enforcement(
    host: &HostInfo,
    waived: &BTreeSet<Layer>,
    cgroups: Option<&CgroupPool>,
    ids: &UserIdPool,
    auditor: &Auditor,
) -> Enforcement {
    let directories = cgroups.map(CgroupPool::directories).unwrap_or_default();
    let directories =
        directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    Layer::ALL.iter().fold(Enforcement::new(), |report, layer| {
        if waived.contains(layer) {
            return report.with(*layer, LayerStatus::Waived, "by the host");
        }
        let detail = match layer {
            Layer::Landlock => {
                host.landlock_abi.map(|abi| format!("ABI {abi}")).unwrap_or_default()
            }
            Layer::DedicatedUser => ids.describe(),
            Layer::Seccomp => auditor.describe(),
            Layer::MemoryCgroup | Layer::PidsCgroup | Layer::CpuCgroup => directories.clone(),
            _ => String::new(),
        };
        report.with(*layer, LayerStatus::Enforced, detail)
    })
}
