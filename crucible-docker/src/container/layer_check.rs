//! Verification of a container's layers.
//!
//! Each check compares the request with the daemon's report and with the guest's findings.

use bollard::models::{
    ContainerInspectResponse, HostConfig, HostConfigCgroupnsModeEnum, MountPoint,
};
use crucible_core::Layer;
use crucible_guest::protocol::{CgroupCounts, Layers};
use crucible_guest_client::ProcessStatus;

use super::container_policy::{CAPABILITIES, ContainerPolicy, GUEST_DIRECTORY};
use super::guest_container::GuestContainer;
use super::target_ids::TargetIds;
use crate::config::Settings;

/// The size of a page, in which kernels count memory.
const PAGE: u64 = 4096;

/// The result of the check of one layer.
pub(super) struct LayerCheck {
    pub(super) layer: Layer,
    pub(super) holds: bool,
    pub(super) detail: String,
}

/// The reports of the daemon and of the guest about a container.
struct Inspection<'a> {
    settings: &'a Settings,
    container: &'a GuestContainer,
    inspected: &'a ContainerInspectResponse,
    config: HostConfig,
    layers: Layers,
    counted: CgroupCounts,
    status: ProcessStatus,
}

/// Checks every layer of a container.
pub(super) fn check_layers(
    settings: &Settings,
    container: &GuestContainer,
    inspected: &ContainerInspectResponse,
) -> Vec<LayerCheck> {
    let greeting = container.greeting();
    let status = greeting.map(|greeting| greeting.status.as_slice()).unwrap_or_default();
    let inspection = Inspection {
        settings,
        container,
        inspected,
        config: inspected.host_config.clone().unwrap_or_default(),
        layers: greeting.map(|greeting| greeting.layers).unwrap_or_default(),
        counted: greeting.map(|greeting| greeting.counted).unwrap_or_default(),
        status: ProcessStatus::parse(status),
    };
    let mut checks = inspection.namespaces();
    checks.extend(inspection.privileges());
    checks.extend(inspection.resources());
    checks
}

impl LayerCheck {
    fn new(layer: Layer, holds: bool, detail: impl Into<String>) -> Self {
        Self { layer, holds, detail: detail.into() }
    }
}

impl Inspection<'_> {
    fn namespaces(&self) -> Vec<LayerCheck> {
        let (config, has) = (&self.config, |layer| self.layers.has(layer));
        let image = &self.container.policy.image;
        let pid_mode = config.pid_mode.as_deref().unwrap_or_default();
        let uts_mode = config.uts_mode.as_deref().unwrap_or_default();
        let has_no_network = has(Layers::NO_NETWORK);
        vec![
            LayerCheck::new(
                Layer::UserNamespace,
                has(Layers::USER_NAMESPACE),
                "ids inside are others outside",
            ),
            LayerCheck::new(
                Layer::PidNamespace,
                has(Layers::INIT) && pid_mode.is_empty(),
                "the guest is process 1",
            ),
            LayerCheck::new(
                Layer::MountNamespace,
                has_no_host_mounts(self.inspected),
                format!("image {image}"),
            ),
            LayerCheck::new(
                Layer::NetworkNamespace,
                has_no_network && config.network_mode.as_deref() == Some("none"),
                "no interface but the loopback",
            ),
            LayerCheck::new(
                Layer::IpcNamespace,
                config.ipc_mode.as_deref() == Some("private"),
                "private",
            ),
            LayerCheck::new(Layer::UtsNamespace, uts_mode.is_empty(), "private"),
            LayerCheck::new(
                Layer::CgroupNamespace,
                config.cgroupns_mode == Some(HostConfigCgroupnsModeEnum::PRIVATE),
                "private",
            ),
        ]
    }

    fn privileges(&self) -> Vec<LayerCheck> {
        let has = |layer| self.layers.has(layer);
        let is_gvisor = self.settings.runtime.is_gvisor();
        let filters = self
            .status
            .seccomp_filters
            .map_or_else(String::new, |count| format!(", {count} filters in all"));
        let no_new_privs =
            has(Layers::NO_NEW_PRIVS) && (is_gvisor || self.status.no_new_privs == Some(true));
        let capabilities =
            (has(Layers::CAPABILITIES) || is_gvisor) && has_requested_capabilities(&self.config);
        let target_id = self.container.target_id;
        vec![
            LayerCheck::new(
                Layer::Seccomp,
                has(Layers::SECCOMP),
                format!("the guest's own filter{filters}"),
            ),
            LayerCheck::new(
                Layer::Landlock,
                has(Layers::LANDLOCK),
                "write access only to /box, /tmp and /dev/shm",
            ),
            LayerCheck::new(Layer::NoNewPrivileges, no_new_privs, "no_new_privs set"),
            LayerCheck::new(Layer::Capabilities, capabilities, "none for the program"),
            LayerCheck::new(
                Layer::DedicatedUser,
                TargetIds::is_target(target_id),
                format!("user {target_id}"),
            ),
        ]
    }

    fn resources(&self) -> Vec<LayerCheck> {
        let has = |layer| self.layers.has(layer);
        vec![
            self.memory(),
            self.processes(),
            LayerCheck::new(
                Layer::CpuCgroup,
                self.counted.cpu_us.is_some(),
                "counted by the container's cgroup",
            ),
            // The guest does not start a command if setrlimit(2) fails.
            LayerCheck::new(Layer::Rlimits, true, "open files, no core"),
            LayerCheck::new(
                Layer::ReadOnlyRoot,
                has(Layers::READ_ONLY_ROOT) && self.config.readonly_rootfs == Some(true),
                "the root file system is read-only",
            ),
            LayerCheck::new(
                Layer::BoundedDisk,
                has(Layers::DISK_BYTES.with(Layers::DISK_INODES)),
                describe_disk(&self.container.policy, self.layers),
            ),
        ]
    }

    /// Checks the memory limit of the kernel where the guest sees it, and always the daemon's
    /// report.
    fn memory(&self) -> LayerCheck {
        let wanted = self.container.policy.memory_bytes;
        let reported = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let by_daemon = reported(self.config.memory) == Some(wanted)
            && reported(self.config.memory_swap) == Some(wanted);
        // A kernel rounds down to whole pages.
        let limit = self.counted.memory_limit_bytes;
        let by_kernel = limit.is_none_or(|limit| limit <= wanted && limit + PAGE > wanted);
        let source = if limit.is_some() { "the kernel's value" } else { "the daemon's value" };
        let detail = format!("{wanted} bytes, no swap, {source}");
        LayerCheck::new(Layer::MemoryCgroup, by_daemon && by_kernel, detail)
    }

    fn processes(&self) -> LayerCheck {
        let policy = &self.container.policy;
        let wanted = policy.pids_limit(self.settings);
        let limit = self.config.pids_limit.and_then(|limit| u64::try_from(limit).ok());
        let by_kernel = self.counted.processes_limit.is_none_or(|limit| limit == wanted);
        let (holds, detail) = if self.settings.runtime.counts_own_threads() {
            // The host also counts the runtime's own threads, so gVisor's kernel enforces the
            // program's limit.
            let detail = format!(
                "{} processes by RLIMIT_NPROC in gVisor's kernel, which does not count refusals",
                policy.processes
            );
            (false, detail)
        } else {
            let detail = format!("{} processes", policy.processes);
            (limit == Some(wanted) && by_kernel, detail)
        };
        LayerCheck::new(Layer::PidsCgroup, holds, detail)
    }
}

/// Returns the description of the disk limit.
pub(super) fn describe_disk(policy: &ContainerPolicy, layers: Layers) -> String {
    let inodes =
        if layers.has(Layers::DISK_INODES) { "inodes" } else { "inodes requested, not enforced" };
    format!("{} bytes, {} {inodes}, in /box, /tmp and /dev/shm", policy.disk_bytes, policy.inodes)
}

/// Returns `true` if every mount is a volume of the daemon, the guest's read-only, and none is a
/// host directory.
fn has_no_host_mounts(inspected: &ContainerInspectResponse) -> bool {
    let mounts = inspected.mounts.as_deref().unwrap_or_default();
    let of_guest = |mount: &MountPoint| mount.destination.as_deref() == Some(GUEST_DIRECTORY);
    let config = inspected.host_config.as_ref();
    let binds = config.and_then(|config| config.binds.as_deref()).unwrap_or_default();
    binds.is_empty()
        && mounts.iter().any(|mount| of_guest(mount) && mount.rw == Some(false))
        && mounts.iter().all(|mount| matches!(mount.typ.as_deref(), Some("volume" | "tmpfs")))
}

/// Returns `true` if the daemon reports no capabilities besides the requested ones.
fn has_requested_capabilities(config: &HostConfig) -> bool {
    let plain = |name: &String| name.trim_start_matches("CAP_").to_owned();
    let added: Vec<_> = config.cap_add.iter().flatten().map(plain).collect();
    config.privileged != Some(true)
        && config.cap_drop.iter().flatten().any(|name| name == "ALL")
        && added.iter().all(|name| CAPABILITIES.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(mounts: &[(&str, &str, bool)], binds: &[&str]) -> ContainerInspectResponse {
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
    fn host_directory_in_a_container_is_detected() {
        let guest = ("volume", GUEST_DIRECTORY, false);
        assert!(has_no_host_mounts(&inspected(&[guest], &[])));
        assert!(has_no_host_mounts(&inspected(&[guest, ("volume", "/data", true)], &[])));
        assert!(!has_no_host_mounts(&inspected(&[guest, ("bind", "/etc", false)], &[])));
        assert!(!has_no_host_mounts(&inspected(&[guest], &["/etc:/etc:ro"])));
        assert!(!has_no_host_mounts(&inspected(&[("volume", GUEST_DIRECTORY, true)], &[])));
        assert!(!has_no_host_mounts(&ContainerInspectResponse::default()));
    }
}
