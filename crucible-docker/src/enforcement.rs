//! What isolates a container: what was asked for is held against what the daemon says that it did, and what the guest found.

use bollard::models::{ContainerInspectResponse, HostConfig, MountPoint};
use crucible_core::{Enforcement, EngineError, Layer, LayerStatus, Limits, UnavailableMechanism};
use crucible_guest::protocol::{CgroupCounts, Layers};
use crucible_guest_client::{Channel as _, CommandEnd, ProcessStatus};

use crate::config::Settings;
use crate::container::Container;
use crate::engine::Inner;
use crate::policy::{CAPABILITIES, GUEST_DIRECTORY, Policy};

/// Layers that not every daemon and kernel have. An engine has those that its first container had, and from then on insists
/// on them.
const WHERE_THERE_ARE: [Layer; 4] =
    [Layer::UserNamespace, Layer::CgroupNamespace, Layer::Landlock, Layer::CpuCgroup];
/// Layers of which gVisor has a part: its engine has no such layer, and says what there is instead.
const GVISOR_HAS_IN_PART: [Layer; 2] = [Layer::PidsCgroup, Layer::BoundedDisk];

/// A line about a layer: whether it holds, and what was found.
struct Line {
    layer: Layer,
    holds: bool,
    detail: String,
}

/// What was found of a container, a line a layer.
fn lines(settings: &Settings, container: &Container, seen: &ContainerInspectResponse) -> Vec<Line> {
    let greeting = container.attachment.router().greeting();
    let layers = greeting.map(|greeting| greeting.layers).unwrap_or_default();
    let counted = greeting.map(|greeting| greeting.counted).unwrap_or_default();
    let status = ProcessStatus::parse(
        greeting.map(|greeting| greeting.status.as_slice()).unwrap_or_default(),
    );
    let config = seen.host_config.clone().unwrap_or_default();
    let policy = &container.policy;
    let gvisor = settings.runtime.is_gvisor();
    let mut lines = Vec::new();
    let mut line = |layer, holds, detail: String| lines.push(Line { layer, holds, detail });
    let has = |layer| layers.has(layer);
    line(
        Layer::UserNamespace,
        has(Layers::USER_NAMESPACE),
        "ids inside are others outside".to_owned(),
    );
    line(
        Layer::PidNamespace,
        has(Layers::INIT) && config.pid_mode.as_deref().unwrap_or_default().is_empty(),
        "the guest is process 1".to_owned(),
    );
    line(Layer::MountNamespace, nothing_of_the_host(seen), format!("image {}", policy.image));
    line(
        Layer::NetworkNamespace,
        has(Layers::NO_NETWORK) && config.network_mode.as_deref() == Some("none"),
        "no interface but the loopback".to_owned(),
    );
    line(Layer::IpcNamespace, config.ipc_mode.as_deref() == Some("private"), "private".to_owned());
    line(
        Layer::UtsNamespace,
        config.uts_mode.as_deref().unwrap_or_default().is_empty(),
        "private".to_owned(),
    );
    let private =
        config.cgroupns_mode == Some(bollard::models::HostConfigCgroupnsModeEnum::PRIVATE);
    line(Layer::CgroupNamespace, private, "private".to_owned());
    let filters = status
        .seccomp_filters
        .map_or_else(String::new, |count| format!(", {count} filters in all"));
    line(Layer::Seccomp, has(Layers::SECCOMP), format!("the guest's own filter{filters}"));
    line(
        Layer::Landlock,
        has(Layers::LANDLOCK),
        "write to /box, /tmp and /dev/shm alone".to_owned(),
    );
    let no_new_privs = has(Layers::NO_NEW_PRIVS) && (gvisor || status.no_new_privs == Some(true));
    line(Layer::NoNewPrivileges, no_new_privs, "no_new_privs set".to_owned());
    let capabilities = has(Layers::CAPABILITIES) || gvisor;
    line(
        Layer::Capabilities,
        capabilities && capabilities_are_ours(&config),
        "none for the program".to_owned(),
    );
    let (holds, detail) = memory(policy, &config, &counted);
    line(Layer::MemoryCgroup, holds, detail);
    let (holds, detail) = processes(settings, policy, &config, &counted);
    line(Layer::PidsCgroup, holds, detail);
    line(
        Layer::CpuCgroup,
        counted.cpu_us.is_some(),
        "counted by the container's cgroup".to_owned(),
    );
    // A command whose limits cannot be set is not started (setrlimit(2)).
    line(Layer::Rlimits, true, "open files, no core".to_owned());
    line(
        Layer::DedicatedUser,
        container.target_id >= crate::engine::TARGET_IDS.start,
        format!("user {}", container.target_id),
    );
    line(
        Layer::ReadOnlyRoot,
        has(Layers::READ_ONLY_ROOT) && config.readonly_rootfs == Some(true),
        "nothing can be made in it".to_owned(),
    );
    line(
        Layer::BoundedDisk,
        has(Layers::DISK_BYTES.with(Layers::DISK_INODES)),
        disk(policy, layers),
    );
    lines
}

/// What is mounted are volumes of the daemon's own, the guest's among them and read-only, and no directory of the host.
fn nothing_of_the_host(seen: &ContainerInspectResponse) -> bool {
    let mounts = seen.mounts.as_deref().unwrap_or_default();
    let of_guest = |mount: &MountPoint| mount.destination.as_deref() == Some(GUEST_DIRECTORY);
    let binds =
        seen.host_config.as_ref().and_then(|config| config.binds.as_deref()).unwrap_or_default();
    binds.is_empty()
        && mounts.iter().any(|mount| of_guest(mount) && mount.rw == Some(false))
        && mounts.iter().all(|mount| matches!(mount.typ.as_deref(), Some("volume" | "tmpfs")))
}

/// The daemon was asked for as few, and has given no more.
fn capabilities_are_ours(config: &HostConfig) -> bool {
    let plain = |name: &String| name.trim_start_matches("CAP_").to_owned();
    let added: Vec<_> = config.cap_add.iter().flatten().map(plain).collect();
    config.privileged != Some(true)
        && config.cap_drop.iter().flatten().any(|name| name == "ALL")
        && added.iter().all(|name| CAPABILITIES.contains(&name.as_str()))
}

/// What the kernel has, where the guest sees it; else what the daemon says.
fn memory(policy: &Policy, config: &HostConfig, counted: &CgroupCounts) -> (bool, String) {
    let wanted = policy.memory_bytes;
    let said = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let by_daemon = said(config.memory) == Some(wanted) && said(config.memory_swap) == Some(wanted);
    // A kernel has whole pages.
    let by_kernel =
        counted.memory_limit_bytes.is_none_or(|limit| limit <= wanted && limit + 4096 > wanted);
    let source = if counted.memory_limit_bytes.is_some() {
        "as the kernel has it"
    } else {
        "as the daemon says"
    };
    (by_daemon && by_kernel, format!("{wanted} bytes, no swap, {source}"))
}

fn processes(
    settings: &Settings,
    policy: &Policy,
    config: &HostConfig,
    counted: &CgroupCounts,
) -> (bool, String) {
    let wanted = policy.pids_limit(settings);
    let by_daemon = config.pids_limit.and_then(|limit| u64::try_from(limit).ok()) == Some(wanted);
    let by_kernel = counted.processes_limit.is_none_or(|limit| limit == wanted);
    if settings.runtime.counts_own_threads() {
        // On the host the runtime's own threads count as well, so that the program's limit is one of its own kernel.
        let detail = format!(
            "{} processes by RLIMIT_NPROC in gVisor's kernel, which does not count refusals",
            policy.processes
        );
        return (false, detail);
    }
    (by_daemon && by_kernel, format!("{} processes", policy.processes))
}

fn disk(policy: &Policy, layers: Layers) -> String {
    let inodes = if layers.has(Layers::DISK_INODES) {
        "inodes"
    } else {
        "inodes asked for, and not bounded"
    };
    format!("{} bytes, {} {inodes}, in /box, /tmp and /dev/shm", policy.disk_bytes, policy.inodes)
}

/// What an engine whose first container this is enforces.
///
/// # Errors
/// [`EngineError::LayerUnavailable`]
pub(crate) fn of_first(
    settings: &Settings,
    container: &Container,
    seen: &ContainerInspectResponse,
) -> Result<Enforcement, EngineError> {
    let mut enforcement = Enforcement::new();
    let mut missing = Vec::new();
    for Line { layer, holds, detail } in lines(settings, container, seen) {
        let status = if settings.waived.contains(&layer) {
            LayerStatus::Waived
        } else if holds {
            LayerStatus::Enforced
        } else if WHERE_THERE_ARE.contains(&layer) {
            continue;
        } else if settings.runtime.is_gvisor() && GVISOR_HAS_IN_PART.contains(&layer) {
            enforcement = enforcement.with(layer, LayerStatus::Absent, detail);
            continue;
        } else {
            missing.push(not_there(settings, layer, &detail));
            continue;
        };
        let detail = if status == LayerStatus::Enforced { detail } else { String::new() };
        enforcement = enforcement.with(layer, status, detail);
    }
    if missing.is_empty() {
        Ok(enforcement)
    } else {
        Err(EngineError::LayerUnavailable { missing })
    }
}

fn not_there(settings: &Settings, layer: Layer, wanted: &str) -> UnavailableMechanism {
    let reason = format!("a container of {} does not have it: {wanted}", settings.runtime);
    let fix = match layer {
        Layer::MemoryCgroup | Layer::PidsCgroup => {
            "let the daemon manage cgroups (a rootless one needs cgroup version 2 with systemd), or waive it"
        }
        Layer::BoundedDisk => "use a runtime whose tmpfs knows `size` and `nr_inodes`, or waive it",
        Layer::Seccomp => "use a runtime with seccomp(2), or waive it",
        _ => "use another runtime or a newer daemon",
    };
    UnavailableMechanism::new(layer, reason, fix)
}

/// That a container has what its engine enforces.
///
/// # Errors
/// [`EngineError::LayerUnavailable`]
pub(crate) fn check(
    inner: &Inner,
    container: &Container,
    seen: &ContainerInspectResponse,
) -> Result<(), EngineError> {
    let settings = &inner.daemon.settings;
    let missing: Vec<_> = lines(settings, container, seen)
        .into_iter()
        .filter(|line| !line.holds && inner.info.enforcement.enforces(line.layer))
        .map(|line| not_there(settings, line.layer, &line.detail))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(EngineError::LayerUnavailable { missing }) }
}

/// What was in force for a command: what the kernel said of it right after it was executed.
///
/// # Errors
/// [`EngineError::LayerUnavailable`]: nothing of the run can be trusted.
pub(crate) fn of_command(
    inner: &Inner,
    container: &Container,
    end: &CommandEnd,
    limits: &Limits,
) -> Result<Enforcement, EngineError> {
    let settings = &inner.daemon.settings;
    let mut report = inner.info.enforcement.clone();
    let mut note = |layer, detail: String| {
        if report.enforces(layer) {
            report = std::mem::take(&mut report).with(layer, LayerStatus::Enforced, detail);
        }
    };
    let policy = &container.policy;
    note(Layer::MountNamespace, format!("image {}", policy.image));
    note(Layer::DedicatedUser, format!("user {}", container.target_id));
    note(Layer::MemoryCgroup, format!("{} bytes, no swap", policy.memory_bytes));
    note(Layer::Rlimits, format!("{} open files, no core", limits.open_files));
    let layers = container
        .attachment
        .router()
        .greeting()
        .map(|greeting| greeting.layers)
        .unwrap_or_default();
    note(Layer::BoundedDisk, disk(policy, layers));
    if !settings.runtime.counts_own_threads() {
        note(Layer::PidsCgroup, format!("{} processes", policy.processes));
    }
    let Some(status) = &end.status else { return Ok(report) };
    let status = ProcessStatus::parse(status);
    let mut missing = Vec::new();
    let mut hold = |layer, holds: bool, said: String| {
        if report.enforces(layer) && !holds {
            let fix = "report this: the container was set up and is not what it should be";
            missing.push(UnavailableMechanism::new(
                layer,
                format!("the kernel says {said} of the program"),
                fix,
            ));
        }
    };
    let uid = status.uid;
    hold(Layer::DedicatedUser, uid == Some(container.target_id), format!("user {uid:?}"));
    let capabilities = status.capabilities.unwrap_or(u64::MAX);
    // The bounding set is of no use to whoever can gain nothing; some kernels show it all the same.
    let none =
        if settings.runtime.is_gvisor() { status.effective == Some(0) } else { capabilities == 0 };
    hold(Layer::Capabilities, none, format!("capabilities {capabilities:#x}"));
    if !settings.runtime.is_gvisor() {
        hold(
            Layer::NoNewPrivileges,
            status.no_new_privs == Some(true),
            "no_new_privs not set".to_owned(),
        );
        hold(Layer::Seccomp, status.seccomp == Some(2), format!("seccomp {:?}", status.seccomp));
    }
    if missing.is_empty() { Ok(report) } else { Err(EngineError::LayerUnavailable { missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(mounts: &[(&str, &str, bool)], binds: &[&str]) -> ContainerInspectResponse {
        let mount = |(kind, at, writable): &(&str, &str, bool)| MountPoint {
            typ: Some((*kind).to_owned()),
            destination: Some((*at).to_owned()),
            rw: Some(*writable),
            ..MountPoint::default()
        };
        let binds = Some(binds.iter().map(|&bind| bind.to_owned()).collect());
        ContainerInspectResponse {
            mounts: Some(mounts.iter().map(mount).collect()),
            host_config: Some(HostConfig { binds, ..HostConfig::default() }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn a_directory_of_the_host_is_seen() {
        let guest = ("volume", GUEST_DIRECTORY, false);
        assert!(nothing_of_the_host(&seen(&[guest], &[])));
        assert!(nothing_of_the_host(&seen(&[guest, ("volume", "/data", true)], &[])));
        assert!(!nothing_of_the_host(&seen(&[guest, ("bind", "/etc", false)], &[])));
        assert!(!nothing_of_the_host(&seen(&[guest], &["/etc:/etc:ro"])));
        assert!(!nothing_of_the_host(&seen(&[("volume", GUEST_DIRECTORY, true)], &[])));
        assert!(!nothing_of_the_host(&ContainerInspectResponse::default()));
    }
}
