//! The enforcement report of an engine and of a command.

use bollard::models::ContainerInspectResponse;
use crucible_core::{Enforcement, EngineError, Layer, LayerStatus, Limits, UnavailableMechanism};
use crucible_guest_client::{CommandEnd, ProcessStatus};

use super::guest_container::GuestContainer;
use super::layer_check::{LayerCheck, check_layers, describe_disk};
use crate::config::Settings;

/// Layers that some daemons and kernels lack. An engine has those of its first container, and
/// requires them from then on.
const OPTIONAL: [Layer; 4] =
    [Layer::UserNamespace, Layer::CgroupNamespace, Layer::Landlock, Layer::CpuCgroup];
/// Layers that gVisor provides in part. Its engine reports them as absent, and describes the
/// replacement.
const PARTIAL_IN_GVISOR: [Layer; 2] = [Layer::PidsCgroup, Layer::BoundedDisk];
/// The seccomp mode of filters (proc(5)).
const SECCOMP_FILTER: u32 = 2;

/// Returns the layers that an engine with this first container enforces.
///
/// # Errors
/// Returns [`EngineError::LayerUnavailable`] with every missing layer.
pub(super) fn of_first(
    settings: &Settings,
    container: &GuestContainer,
    inspected: &ContainerInspectResponse,
) -> Result<Enforcement, EngineError> {
    let mut enforcement = Enforcement::new();
    let mut missing = Vec::new();
    for LayerCheck { layer, holds, detail } in check_layers(settings, container, inspected) {
        if settings.waived.contains(&layer) {
            enforcement = enforcement.with(layer, LayerStatus::Waived, String::new());
        } else if holds {
            enforcement = enforcement.with(layer, LayerStatus::Enforced, detail);
        } else if OPTIONAL.contains(&layer) {
            // The engine does not have the layer.
        } else if settings.runtime.is_gvisor() && PARTIAL_IN_GVISOR.contains(&layer) {
            enforcement = enforcement.with(layer, LayerStatus::Absent, detail);
        } else {
            missing.push(unavailable(settings, layer, &detail));
        }
    }
    result_of(enforcement, missing)
}

/// Checks that a container has every layer that its engine enforces.
///
/// # Errors
/// Returns [`EngineError::LayerUnavailable`] with every missing layer.
pub(super) fn verify(
    settings: &Settings,
    required: &Enforcement,
    container: &GuestContainer,
    inspected: &ContainerInspectResponse,
) -> Result<(), EngineError> {
    let missing = check_layers(settings, container, inspected)
        .into_iter()
        .filter(|check| !check.holds && required.enforces(check.layer))
        .map(|check| unavailable(settings, check.layer, &check.detail))
        .collect();
    result_of((), missing)
}

/// Returns the layers that were in force for a command, from its status file immediately after
/// execve(2).
///
/// # Errors
/// Returns [`EngineError::LayerUnavailable`] if a layer was not in force. The run's result cannot
/// be trusted then.
pub(crate) fn enforcement_of_command(
    settings: &Settings,
    engine: &Enforcement,
    container: &GuestContainer,
    end: &CommandEnd,
    limits: &Limits,
) -> Result<Enforcement, EngineError> {
    let report = with_details(settings, engine.clone(), container, limits);
    let Some(status) = &end.status else { return Ok(report) };
    let status = ProcessStatus::parse(status);
    let mut missing = Vec::new();
    let mut check = |layer, holds: bool, found: String| {
        if report.enforces(layer) && !holds {
            missing.push(UnavailableMechanism::new(
                layer,
                format!("the kernel reports {found} for the program"),
                "report this as a bug: the container was set up, and the layer is not in force",
            ));
        }
    };
    let uid = status.uid;
    check(Layer::DedicatedUser, uid == Some(container.target_id), format!("user {uid:?}"));
    let capabilities = status.capabilities.unwrap_or(u64::MAX);
    if settings.runtime.is_gvisor() {
        // gVisor reports a bounding set, which has no effect on a process that cannot gain
        // privileges.
        let holds = status.effective == Some(0);
        check(Layer::Capabilities, holds, format!("capabilities {capabilities:#x}"));
    } else {
        check(Layer::Capabilities, capabilities == 0, format!("capabilities {capabilities:#x}"));
        let holds = status.no_new_privs == Some(true);
        check(Layer::NoNewPrivileges, holds, "no_new_privs not set".to_owned());
        let holds = status.seccomp == Some(SECCOMP_FILTER);
        check(Layer::Seccomp, holds, format!("seccomp {:?}", status.seccomp));
    }
    result_of(report, missing)
}

/// Adds the details of a container and its limits to the engine's report.
fn with_details(
    settings: &Settings,
    mut report: Enforcement,
    container: &GuestContainer,
    limits: &Limits,
) -> Enforcement {
    let policy = &container.policy;
    let layers = container.greeting().map(|greeting| greeting.layers).unwrap_or_default();
    let mut details = vec![
        (Layer::MountNamespace, format!("image {}", policy.image)),
        (Layer::DedicatedUser, format!("user {}", container.target_id)),
        (Layer::MemoryCgroup, format!("{} bytes, no swap", policy.memory_bytes)),
        (Layer::Rlimits, format!("{} open files, no core", limits.open_files)),
        (Layer::BoundedDisk, describe_disk(policy, layers)),
    ];
    if !settings.runtime.counts_own_threads() {
        details.push((Layer::PidsCgroup, format!("{} processes", policy.processes)));
    }
    for (layer, detail) in details {
        if report.enforces(layer) {
            report = report.with(layer, LayerStatus::Enforced, detail);
        }
    }
    report
}

fn unavailable(settings: &Settings, layer: Layer, expected: &str) -> UnavailableMechanism {
    let reason = format!("a container of {} does not have it: {expected}", settings.runtime);
    let fix = match layer {
        Layer::MemoryCgroup | Layer::PidsCgroup => {
            "let the daemon manage cgroups (a rootless one needs cgroup version 2 with systemd), \
             or waive it"
        }
        Layer::BoundedDisk => {
            "use a runtime with support for `size` and `nr_inodes` of tmpfs, or waive it"
        }
        Layer::Seccomp => "use a runtime with seccomp(2), or waive it",
        _ => "use another runtime or a newer daemon",
    };
    UnavailableMechanism::new(layer, reason, fix)
}

fn result_of<T>(value: T, missing: Vec<UnavailableMechanism>) -> Result<T, EngineError> {
    if missing.is_empty() { Ok(value) } else { Err(EngineError::LayerUnavailable { missing }) }
}
