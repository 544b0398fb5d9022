//! The report about the layers that this host offers.

use std::collections::BTreeSet;

use crucible_core::{EngineError, HostReport, Layer, error_chain};

use super::layer_errors::{layer_of, no_dedicated_user, no_landlock};
use crate::ENGINE_NAME;
use crate::config::SubprocessBuilder;
use crate::linux::cgroup::{self, CgroupController, CgroupRoot, CgroupVersion, DetectedCgroups};
use crate::linux::sys::{HostInfo, UserNamespaceObstacle};

/// Returns a report about the layers that this host offers, with a fix for each missing one.
///
/// Opens a sandbox with every available layer. Blocks for a few milliseconds.
///
/// Like the creation of an engine, this moves an ordinary user's process with a delegated cgroup
/// into a child group.
#[must_use]
pub fn doctor() -> HostReport {
    let host = HostInfo::read();
    let mut builder = SubprocessBuilder::new();
    let cgroups = cgroup::detect(&builder.cgroup_parent, &CgroupController::ALL);
    let missing = cgroups.iter().filter(|(_, root)| root.is_err());
    builder =
        missing.fold(builder, |builder, (controller, _)| builder.waive(layer_of(*controller)));
    if host.landlock_abi.is_none() {
        builder = builder.waive(Layer::Landlock);
    }
    if !host.is_root() {
        builder = builder.waive(Layer::DedicatedUser);
    }
    // While this engine exists, no other ending engine removes the groups in the report.
    let engine = builder.build();
    let report = with_facts(HostReport::new(ENGINE_NAME), &host, &cgroups);
    let report = with_layers(report, &host, &cgroups);
    let rest = missing_layers(&report);
    let report = match &engine {
        Ok(_) => {
            rest.into_iter().fold(report, |report, layer| report.with_available(layer, "tried out"))
        }
        Err(error) => with_failure(report, rest, error),
    };
    drop(engine);
    cgroup::remove_unused(cgroups.values().flatten());
    report
}

/// Adds the facts about the host.
fn with_facts(report: HostReport, host: &HostInfo, cgroups: &DetectedCgroups) -> HostReport {
    report
        .with_fact("kernel", HostInfo::kernel())
        .with_fact("user", format!("{}{}", host.uid, if host.is_root() { " (root)" } else { "" }))
        .with_fact("cgroups", describe_cgroups(cgroups))
        .with_fact("swap", describe_swap(cgroups))
        .with_fact("peaks", describe_peaks(cgroups))
        .with_fact("user namespaces", describe_user_namespaces(host))
}

/// Adds the layers that can be checked without a sandbox.
fn with_layers(mut report: HostReport, host: &HostInfo, cgroups: &DetectedCgroups) -> HostReport {
    for (controller, root) in cgroups {
        let layer = layer_of(*controller);
        report = match root {
            Ok(root) => {
                let detail = format!("version {}, {}", version(root), root.parent.display());
                report.with_available(layer, detail)
            }
            Err(obstacle) => report.with_missing(layer, &obstacle.reason, &obstacle.fix),
        };
    }
    report = match host.landlock_abi {
        Some(abi) => report.with_available(Layer::Landlock, describe_landlock(abi)),
        None => {
            let missing = no_landlock();
            report.with_missing(Layer::Landlock, missing.reason, missing.fix)
        }
    };
    if host.is_root() {
        report.with_available(Layer::DedicatedUser, "two user ids for each sandbox")
    } else {
        let missing = no_dedicated_user(host);
        report.with_missing(Layer::DedicatedUser, missing.reason, missing.fix)
    }
}

fn version(root: &CgroupRoot) -> u8 {
    match root.version {
        CgroupVersion::V1 => 1,
        CgroupVersion::V2 => 2,
    }
}

/// Describes the cgroup roots, each once.
fn describe_cgroups(cgroups: &DetectedCgroups) -> String {
    let roots: BTreeSet<_> = cgroups
        .values()
        .flatten()
        .map(|root| format!("version {} in {}", version(root), root.parent.display()))
        .collect();
    if roots.is_empty() {
        return "none can be made".to_owned();
    }
    roots.into_iter().collect::<Vec<_>>().join(", ")
}

fn describe_swap(cgroups: &DetectedCgroups) -> &'static str {
    // The first line is a heading (proc(5)).
    let has_swap =
        std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    match cgroups.get(&CgroupController::Memory) {
        Some(Ok(root)) if root.counts_swap() => "counted, and none for sandboxes",
        Some(Ok(_)) if has_swap => {
            "not counted: swapped memory is not limited; boot with `swapaccount=1`, or run \
             `swapoff -a`"
        }
        Some(Ok(_)) => "not counted, and the host has none",
        _ => "not limited: there is no memory cgroup",
    }
}

fn describe_peaks(cgroups: &DetectedCgroups) -> String {
    let describe = |controller, keeps: fn(&CgroupRoot) -> bool, without: &str| match cgroups
        .get(&controller)
    {
        Some(Ok(root)) if keeps(root) => "counted by the kernel".to_owned(),
        Some(Ok(_)) => without.to_owned(),
        _ => "unknown without a cgroup".to_owned(),
    };
    let memory = describe(
        CgroupController::Memory,
        CgroupRoot::keeps_memory_peak,
        "of the largest process alone (`memory.peak` came with Linux 5.19)",
    );
    let processes = describe(
        CgroupController::Pids,
        CgroupRoot::keeps_processes_peak,
        "unknown (`pids.peak` came with Linux 6.10)",
    );
    format!("memory {memory}; processes {processes}")
}

fn describe_user_namespaces(host: &HostInfo) -> String {
    match host.user_namespace_obstacle() {
        Some(UserNamespaceObstacle { reason, fix, .. }) => format!("{reason}; fix: {fix}"),
        None => "no setting restricts them".to_owned(),
    }
}

fn describe_landlock(abi: u8) -> String {
    let missing = match abi {
        6.. => "",
        4 | 5 => ", without scopes for abstract sockets and signals",
        _ => ", without rules for TCP and scopes for abstract sockets and signals",
    };
    format!("ABI {abi}{missing}")
}

/// Returns the layers that the report does not contain yet.
fn missing_layers(report: &HostReport) -> BTreeSet<Layer> {
    let known: BTreeSet<_> = report.layers.iter().map(|probe| probe.layer).collect();
    Layer::ALL.iter().copied().filter(|layer| !known.contains(layer)).collect()
}

/// Adds the layers that the error names as missing. The state of the others is unknown.
fn with_failure(report: HostReport, layers: BTreeSet<Layer>, error: &EngineError) -> HostReport {
    let named = match error {
        EngineError::LayerUnavailable { missing } => missing.as_slice(),
        _ => &[],
    };
    let report = report.with_fact("a sandbox could not be made", error_chain(error).to_string());
    layers.into_iter().fold(report, |report, layer| {
        match named.iter().find(|missing| missing.layer == layer) {
            Some(missing) => {
                report.with_missing(layer, missing.reason.clone(), missing.fix.clone())
            }
            None => report.with_missing(
                layer,
                "unknown: a sandbox could not be tried out",
                "fix the other layers, and run this again",
            ),
        }
    })
}
