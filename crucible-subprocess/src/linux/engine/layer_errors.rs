//! Mapping of failures to the missing layers that cause them.

use crucible_core::{EngineError, Layer, UnavailableMechanism};
use crucible_guest::protocol::Step;

use crate::linux::cgroup::CgroupController;
use crate::linux::sys::HostInfo;

/// Steps that fail first without user namespaces.
const USER_NAMESPACE_STEPS: [Step; 5] = [
    Step::SPAWNER_NAMESPACES,
    Step::SPAWNER_MAPS,
    Step::SPAWNER_PRIVATE,
    Step::TEMPLATE,
    Step::CLONE,
];

/// Returns the layer that a controller implements.
pub(super) fn layer_of(controller: CgroupController) -> Layer {
    match controller {
        CgroupController::Memory => Layer::MemoryCgroup,
        CgroupController::Pids => Layer::PidsCgroup,
        CgroupController::Cpu => Layer::CpuCgroup,
    }
}

/// Returns the report of missing Landlock support.
pub(super) fn no_landlock() -> UnavailableMechanism {
    UnavailableMechanism::new(
        Layer::Landlock,
        "the kernel has no Landlock, or it is disabled",
        "use Linux 5.13 or later with `landlock` in the `lsm=` kernel parameter",
    )
}

/// Returns the report of an ordinary user, who has only one user id.
pub(super) fn no_dedicated_user(host: &HostInfo) -> UnavailableMechanism {
    UnavailableMechanism::new(
        Layer::DedicatedUser,
        format!("user {} has only its own user id", host.uid),
        "run the host as root",
    )
}

/// Returns the error with the layer that a failed step implements, if it implements one.
pub(super) fn explain(error: EngineError, host: &HostInfo) -> EngineError {
    let EngineError::Setup { step, source } = &error else { return error };
    let is = |candidate: Step| candidate.describe().is_some_and(|text| step.starts_with(text));
    let cause = source.as_ref().map(|source| format!(": {source}")).unwrap_or_default();
    let missing = |layer, reason, fix: &str| EngineError::LayerUnavailable {
        missing: vec![UnavailableMechanism::new(layer, reason, fix)],
    };
    if USER_NAMESPACE_STEPS.into_iter().any(is)
        && let Some(obstacle) = host.user_namespace_obstacle()
    {
        // Some of these settings allow a namespace and deny everything in it.
        let reason = format!("{}: cannot {step}{cause}", obstacle.reason);
        return missing(Layer::UserNamespace, reason, &obstacle.fix);
    }
    match layer_of_step(is, host) {
        Some((layer, fix)) => missing(layer, format!("cannot {step}{cause}"), fix),
        None => error,
    }
}

/// Returns the layer that the failed step implements, and its fix.
fn layer_of_step(is: impl Fn(Step) -> bool, host: &HostInfo) -> Option<(Layer, &'static str)> {
    let any = |steps: &[Step]| steps.iter().any(|step| is(*step));
    if any(&[Step::SPAWNER_NAMESPACES, Step::SPAWNER_MAPS, Step::CLONE, Step::MAPS]) {
        let fix = if host.is_root() {
            "give the host `CAP_SYS_ADMIN` in its own user namespace (in a container: \
             `--privileged`, or a seccomp profile that allows `clone3` and `mount`)"
        } else {
            "allow user namespaces for ordinary users, see `docs/host-setup.md`"
        };
        Some((Layer::UserNamespace, fix))
    } else if any(&[Step::SPAWNER_PRIVATE, Step::TEMPLATE, Step::PIVOT, Step::MOUNT_DISK]) {
        let fix = "allow mounting in a mount namespace of its own (`CAP_SYS_ADMIN`)";
        Some((Layer::MountNamespace, fix))
    } else if is(Step::MOUNT_PROC) {
        let fix = "run where `/proc` is fully visible (in a container: `--security-opt \
                   systempaths=unconfined`)";
        Some((Layer::PidNamespace, fix))
    } else if any(&[Step::NETNS, Step::ENTER_NETNS]) {
        Some((Layer::NetworkNamespace, "raise `user.max_net_namespaces`"))
    } else if is(Step::CGROUP_NAMESPACE) {
        Some((Layer::CgroupNamespace, "raise `user.max_cgroup_namespaces`"))
    } else if is(Step::SPAWNER_SECCOMP) {
        Some((Layer::Seccomp, "use a kernel with `CONFIG_SECCOMP_FILTER`"))
    } else if is(Step::LANDLOCK) {
        Some((Layer::Landlock, "use a kernel with Landlock"))
    } else {
        None
    }
}
