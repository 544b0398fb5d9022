//! What this host offers.

use std::collections::BTreeSet;

use crucible_core::{HostReport, Layer};

use super::build::layer_of;
use super::cgroup::{self, Controller, Found, Place, Version};
use super::engine::NAME;
use super::host::{Host, Obstacle};
use super::probe;
use crate::config::SubprocessBuilder;

/// Says what this host offers, a line a layer, with what mends what is missing. Tries a sandbox out with every layer that
/// is there. Blocks for a few milliseconds.
///
/// Like making an engine, this moves an ordinary user's process that has a delegated cgroup into a group beneath it.
#[must_use]
pub fn doctor() -> HostReport {
    let host = Host::look();
    let mut builder = SubprocessBuilder::new();
    let found = cgroup::detect(&builder.cgroup_parent, &Controller::ALL);
    let without_group = found.iter().filter(|(_, place)| place.is_err());
    builder = without_group
        .fold(builder, |builder, (controller, _)| builder.waive(layer_of(*controller)));
    if host.landlock_abi.is_none() {
        builder = builder.waive(Layer::Landlock);
    }
    if !host.is_root() {
        builder = builder.waive(Layer::DedicatedUser);
    }
    // As long as there is an engine, no other that ends removes the groups that are looked at below.
    let tried = builder.build();
    let mut report = HostReport::new(NAME)
        .with_fact("kernel", Host::kernel())
        .with_fact("user", format!("{}{}", host.uid, if host.is_root() { " (root)" } else { "" }))
        .with_fact("cgroups", cgroups(&found))
        .with_fact("swap", swap(&found))
        .with_fact("peaks", peaks(&found))
        .with_fact("user namespaces", user_namespaces(&host));
    for (controller, found) in &found {
        let layer = layer_of(*controller);
        report = match found {
            Ok(place) => {
                let detail = format!("version {}, {}", version(place), place.parent.display());
                report.with_available(layer, detail)
            }
            Err((reason, fix)) => report.with_missing(layer, reason, fix),
        };
    }
    report = match host.landlock_abi {
        Some(abi) => report.with_available(Layer::Landlock, landlock_detail(abi)),
        None => {
            let missing = probe::no_landlock();
            report.with_missing(Layer::Landlock, missing.reason, missing.fix)
        }
    };
    report = if host.is_root() {
        report.with_available(Layer::DedicatedUser, "two user ids for each sandbox")
    } else {
        let missing = probe::no_dedicated_user(&host);
        report.with_missing(Layer::DedicatedUser, missing.reason, missing.fix)
    };
    let rest = rest_of(&report);
    let report = match &tried {
        Ok(_) => {
            rest.into_iter().fold(report, |report, layer| report.with_available(layer, "tried out"))
        }
        Err(error) => untried(report, rest, error),
    };
    drop(tried);
    cgroup::leave(found.values().flatten());
    report
}

fn version(place: &Place) -> u8 {
    match place.version {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}

/// Where groups are made, each place once.
fn cgroups(found: &Found) -> String {
    let places: BTreeSet<_> = found
        .values()
        .flatten()
        .map(|place| format!("version {} in {}", version(place), place.parent.display()))
        .collect();
    if places.is_empty() {
        return "none can be made".to_owned();
    }
    places.into_iter().collect::<Vec<_>>().join(", ")
}

fn swap(found: &Found) -> &'static str {
    // The first line is a heading (proc(5)).
    let has_swap =
        std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    match found.get(&Controller::Memory) {
        Some(Ok(place)) if place.counts_swap() => "counted, and none for sandboxes",
        Some(Ok(_)) if has_swap => {
            "not counted: what is swapped out is not limited; boot with `swapaccount=1`, or run `swapoff -a`"
        }
        Some(Ok(_)) => "not counted, and the host has none",
        _ => "not limited: there is no memory cgroup",
    }
}

fn peaks(found: &Found) -> String {
    let say = |controller, keeps: fn(&Place) -> bool, without: &str| match found.get(&controller) {
        Some(Ok(place)) if keeps(place) => "counted by the kernel".to_owned(),
        Some(Ok(_)) => without.to_owned(),
        _ => "unknown without a cgroup".to_owned(),
    };
    let memory = say(
        Controller::Memory,
        Place::keeps_memory_peak,
        "of the largest process alone (`memory.peak` came with Linux 5.19)",
    );
    let processes = say(
        Controller::Pids,
        Place::keeps_processes_peak,
        "unknown (`pids.peak` came with Linux 6.10)",
    );
    format!("memory {memory}; processes {processes}")
}

fn user_namespaces(host: &Host) -> String {
    match host.user_namespace_obstacle() {
        Some(Obstacle { reason, fix, .. }) => format!("{reason}; to mend it, {fix}"),
        None => "no setting is in the way".to_owned(),
    }
}

fn landlock_detail(abi: u8) -> String {
    let lacks = match abi {
        6.. => "",
        4 | 5 => ", without scopes for abstract sockets and signals",
        _ => ", without rules for TCP and scopes for abstract sockets and signals",
    };
    format!("ABI {abi}{lacks}")
}

/// The layers of which the report says nothing yet.
fn rest_of(report: &HostReport) -> BTreeSet<Layer> {
    let known: BTreeSet<_> = report.layers.iter().map(|probe| probe.layer).collect();
    Layer::ALL.iter().copied().filter(|layer| !known.contains(layer)).collect()
}

/// A sandbox could not be tried out: the layers that are named are missing, and of the others nothing is known.
fn untried(
    report: HostReport,
    rest: BTreeSet<Layer>,
    error: &crucible_core::EngineError,
) -> HostReport {
    let named = match error {
        crucible_core::EngineError::LayerUnavailable { missing } => missing.clone(),
        _ => Vec::new(),
    };
    let report = report
        .with_fact("a sandbox could not be made", crucible_core::error_chain(error).to_string());
    rest.into_iter().fold(report, |report, layer| {
        match named.iter().find(|missing| missing.layer == layer) {
            Some(missing) => {
                report.with_missing(layer, missing.reason.clone(), missing.fix.clone())
            }
            None => report.with_missing(
                layer,
                "unknown: a sandbox could not be tried out",
                "mend the rest, and ask again",
            ),
        }
    })
}
