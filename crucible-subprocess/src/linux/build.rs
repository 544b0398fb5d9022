//! How an engine is made: what it needs of the host is found, or named as missing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crucible_core::{
    Enforcement, EngineError, EngineInfo, InvalidInput, Layer, LayerStatus, Limits,
    UnavailableMechanism,
};
use crucible_guest::protocol::InitFlags;
use crucible_guest_client::ReadyPool;
use crucible_guest_client::errors::setup;

use super::auditor::Auditor;
use super::cgroup::{self, Controller, Pool};
use super::egress::Names;
use super::engine::{Inner, NAME, SubprocessEngine};
use super::host::Host;
use super::ids::Ids;
use super::interpreter::{self, Warm};
use super::janitor::Janitor;
use super::network::Networks;
use super::probe;
use super::resources::{Resources, Size};
use super::slots::Slots;
use super::spawner::{Setup, Spawner};
use super::template::Template;
use super::word::Word;
use crate::config::SubprocessBuilder;

impl SubprocessEngine {
    pub(crate) fn from_builder(builder: SubprocessBuilder) -> Result<Self, EngineError> {
        let problems = builder.ready_interpreters.iter().flat_map(|(language, modules)| {
            Warm::new(language.clone(), modules.clone()).problems()
        });
        InvalidInput::check(problems.collect())?;
        let host = Host::look();
        let waived = builder.waived;
        let mut missing = Vec::new();
        let places = find_cgroups(&builder.cgroup_parent, &waived, &mut missing);
        if host.landlock_abi.is_none() && !waived.contains(&Layer::Landlock) {
            missing.push(probe::no_landlock());
        }
        let ids = find_ids(&host, &builder.runtime_directory, &waived, &mut missing);
        if let Some(obstacle) = host.user_namespace_obstacle()
            && obstacle.is_certain
        {
            missing.push(UnavailableMechanism::new(
                Layer::UserNamespace,
                obstacle.reason,
                obstacle.fix,
            ));
        }
        let (Some(ids), true) = (ids, missing.is_empty()) else {
            cgroup::leave(places.iter().map(|(_, place)| place));
            return Err(EngineError::LayerUnavailable { missing });
        };
        let pool = if places.is_empty() {
            None
        } else {
            Some(Pool::new(places).map_err(|error| setup("make the engine's cgroups", error))?)
        };
        let auditor =
            Arc::new(Auditor::start().map_err(|error| setup("start the auditor", error))?);
        let spawner_setup = spawner_setup(&host, &waived, Template::new(&builder.root)?);
        let spawner = Spawner::start(spawner_setup, Arc::clone(&auditor))
            .map_err(|error| probe::explain(error, &host))?;
        let enforcement = enforcement(&host, &waived, pool.as_ref(), &ids, &auditor);
        // Without the one there are interfaces, without the other UDP and raw sockets.
        let has_allow_lists =
            !waived.contains(&Layer::NetworkNamespace) && !waived.contains(&Layer::Seccomp);
        let preopened = ReadyPool::new(builder.ready_sandboxes, builder.ready_age);
        if preopened.is_wanted() {
            preopened.register(&Size::from(&Limits::new()));
        }
        let slots = Slots::new(builder.slots, builder.slot_sharing, builder.ready_age);
        if slots.pool.is_wanted() {
            slots.pool.register(&Size::from(&Limits::new()));
        }
        let (warm, count) = (builder.ready_interpreters, builder.ready_interpreter_count);
        let warm: Vec<_> =
            warm.into_iter().map(|(language, modules)| Warm::new(language, modules)).collect();
        let count = if warm.is_empty() || waived.contains(&Layer::CpuCgroup) { 0 } else { count };
        let interpreters = ReadyPool::new(count, builder.ready_age);
        let resources = Arc::new(Resources {
            warm,
            interpreters,
            tcp_spawner: spawner.dormant_with(InitFlags::INET),
            spawner,
            auditor,
            ids,
            pool,
            // An ordinary user's spawner owns its namespaces, and so does every sandbox made in one: it could change it.
            pools_networks: host.is_root() && !waived.contains(&Layer::NetworkNamespace),
            networks: Networks::default(),
            held: AtomicUsize::new(0),
            held_peak: AtomicUsize::new(0),
            dying: AtomicUsize::new(0),
            preopened,
            slots,
            host,
            waived,
        });
        if resources.interpreters.is_wanted() {
            for language in 0..resources.warm.len() {
                resources.interpreters.register(&interpreter::Kind::new(
                    language,
                    &Limits::new(),
                    &resources,
                )?);
            }
        }
        let janitor = Janitor::start(Arc::clone(&resources))
            .map_err(|error| setup("start the janitor", error))?;
        let mut info = EngineInfo::new(NAME, enforcement);
        if has_allow_lists {
            info = info.with_allow_lists();
        }
        let drain_deadline = builder.drain_deadline;
        let names = Arc::new(Names::new(builder.resolver, builder.pins));
        let inner =
            Inner { drain_deadline, info, names, resources, janitor, word: Word::default() };
        let engine = Self { inner: Arc::new(inner) };
        probe::try_out(&engine.inner)
            .map_err(|error| probe::explain(error, engine.inner.host()))?;
        Ok(engine)
    }
}

/// Where cgroups are made; those that are neither there nor waived are missing.
fn find_cgroups(
    parent: &Path,
    waived: &BTreeSet<Layer>,
    missing: &mut Vec<UnavailableMechanism>,
) -> Vec<(Controller, cgroup::Place)> {
    let wanted: Vec<_> = Controller::ALL
        .into_iter()
        .filter(|controller| !waived.contains(&layer_of(*controller)))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut places = Vec::new();
    for (controller, found) in cgroup::detect(parent, &wanted) {
        match found {
            Ok(place) => places.push((controller, place)),
            Err((reason, fix)) => {
                missing.push(UnavailableMechanism::new(layer_of(controller), reason, fix))
            }
        }
    }
    places
}

pub(super) fn layer_of(controller: Controller) -> Layer {
    match controller {
        Controller::Memory => Layer::MemoryCgroup,
        Controller::Pids => Layer::PidsCgroup,
        Controller::Cpu => Layer::CpuCgroup,
    }
}

/// The ids of sandboxes: an ordinary user has but one.
fn find_ids(
    host: &Host,
    directory: &Path,
    waived: &BTreeSet<Layer>,
    missing: &mut Vec<UnavailableMechanism>,
) -> Option<Ids> {
    let is_waived = waived.contains(&Layer::DedicatedUser);
    match (host.is_root(), is_waived) {
        (true, false) => match Ids::claim(directory) {
            Ok(ids) => Some(ids),
            Err(error) => {
                let reason = format!("{}: {error}", directory.display());
                let fix = "name a directory that can be written to with `runtime_directory`";
                missing.push(UnavailableMechanism::new(Layer::DedicatedUser, reason, fix));
                None
            }
        },
        (true, true) => Some(Ids::shared_by_root()),
        (false, true) => Some(Ids::single()),
        (false, false) => {
            missing.push(probe::no_dedicated_user(host));
            None
        }
    }
}

fn spawner_setup(host: &Host, waived: &BTreeSet<Layer>, template: Template) -> Setup {
    let mut flags = InitFlags::default();
    if !host.is_root() {
        flags = flags.with(InitFlags::OWN_USER_NAMESPACE);
    }
    if !waived.contains(&Layer::Seccomp) {
        flags = flags.with(InitFlags::SECCOMP);
    }
    Setup { flags, uid: host.uid, gid: host.gid, template }
}

/// What the engine enforces, a line a layer.
fn enforcement(
    host: &Host,
    waived: &BTreeSet<Layer>,
    pool: Option<&Pool>,
    ids: &Ids,
    auditor: &Auditor,
) -> Enforcement {
    let directories = pool.map(Pool::directories).unwrap_or_default();
    let cgroups =
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
            Layer::MemoryCgroup | Layer::PidsCgroup | Layer::CpuCgroup => cgroups.clone(),
            _ => String::new(),
        };
        report.with(*layer, LayerStatus::Enforced, detail)
    })
}
