//! What this host offers.

use std::collections::BTreeSet;

use crucible_core::{HostReport, Layer};

use super::cgroup::{self, Controller};
use super::engine::{NAME, layer_of};
use super::host::Host;
use super::probe;
use crate::config::SubprocessBuilder;

/// Says what this host offers, a line a layer, with what mends what is missing. Tries a sandbox out with every layer that
/// is there. Blocks for a few milliseconds.
#[must_use]
pub fn doctor() -> HostReport {
    let host = Host::look();
    let mut report = HostReport::new(NAME)
        .with_fact(format!("kernel: {}", Host::kernel()))
        .with_fact(format!("user: {}{}", host.uid, if host.is_root() { " (root)" } else { "" }));
    let mut builder = SubprocessBuilder::new();
    let found = cgroup::detect(&builder.cgroup_parent, &Controller::ALL);
    for (controller, found) in &found {
        let layer = layer_of(*controller);
        match found {
            Ok(place) => {
                let version = match place.version {
                    cgroup::Version::V1 => 1,
                    cgroup::Version::V2 => 2,
                };
                report =
                    report.with_available(layer, format!("version {version}, {}", place.parent.display()));
                // Looking has made the named parent; an engine makes it again.
                let _left_if_used = std::fs::remove_dir(&place.parent);
            }
            Err((reason, fix)) => {
                report = report.with_missing(layer, reason, fix);
                builder = builder.waive(layer);
            }
        }
    }
    report = match host.landlock_abi {
        Some(abi) => report.with_available(Layer::Landlock, landlock_detail(abi)),
        None => {
            let missing = probe::no_landlock();
            builder = builder.waive(Layer::Landlock);
            report.with_missing(Layer::Landlock, missing.reason, missing.fix)
        }
    };
    report = if host.is_root() {
        report.with_available(Layer::DedicatedUser, "two user ids for each sandbox")
    } else {
        let missing = probe::no_dedicated_user(&host);
        builder = builder.waive(Layer::DedicatedUser);
        report.with_missing(Layer::DedicatedUser, missing.reason, missing.fix)
    };
    let rest = rest_of(&report);
    match builder.build() {
        Ok(_) => rest.into_iter().fold(report, |report, layer| report.with_available(layer, "tried out")),
        Err(error) => untried(report, rest, &error),
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
fn untried(report: HostReport, rest: BTreeSet<Layer>, error: &crucible_core::EngineError) -> HostReport {
    let named = match error {
        crucible_core::EngineError::LayerUnavailable { missing } => missing.clone(),
        _ => Vec::new(),
    };
    let report = report.with_fact(format!("a sandbox could not be made: {}", crucible_core::chain(error)));
    rest.into_iter().fold(report, |report, layer| match named.iter().find(|missing| missing.layer == layer) {
        Some(missing) => report.with_missing(layer, missing.reason.clone(), missing.fix.clone()),
        None => report.with_missing(layer, "could not be tried out", "mend what is missing, and ask again"),
    })
}
