//! The properties of a container that are fixed at its creation.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use crucible_core::{Layer, Limits};

use crate::config::{DeviceRequest, Settings};

/// The directory of the guest program in a container.
pub(super) const GUEST_DIRECTORY: &str = "/.crucible";
/// The guest's capabilities. It needs them to become the target's user, to kill the target, to
/// write and read files of any owner, and to drop its other capabilities.
pub(super) const CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETPCAP", "SETUID"];
/// The allowance for gVisor's own threads, which the host counts as processes of the container.
const GVISOR_PROCESSES: u64 = 1024;

/// The properties of a container that are fixed at its creation. Sandboxes with the same policy
/// share a kind of ready container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ContainerPolicy {
    pub(crate) image: String,
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u32,
    pub(crate) disk_bytes: u64,
    pub(crate) inodes: u64,
}

impl ContainerPolicy {
    /// Creates the policy for an image and limits.
    pub(super) fn new(image: String, limits: &Limits) -> Self {
        Self {
            image,
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            disk_bytes: limits.disk_bytes,
            inodes: limits.inodes,
        }
    }

    /// Returns the process limit for the daemon, which includes the guest.
    pub(super) fn pids_limit(&self, settings: &Settings) -> u64 {
        let processes = u64::from(self.processes) + 1;
        if settings.runtime.counts_own_threads() { processes + GVISOR_PROCESSES } else { processes }
    }

    /// Returns the request to create a container.
    pub(super) fn body(
        &self,
        settings: &Settings,
        agent_volume: &str,
        target_id: u32,
        labels: HashMap<String, String>,
    ) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(self.image.clone()),
            // These override the image's own values.
            entrypoint: Some(vec![format!("{GUEST_DIRECTORY}/guest")]),
            cmd: Some(self.guest_arguments(settings, target_id)),
            user: Some("0:0".to_owned()),
            working_dir: Some("/".to_owned()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            env: Some(Vec::new()),
            labels: Some(labels),
            // The daemon closes the guest's input when the engine's connection ends, and the guest
            // exits.
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // A terminal would merge the streams, so a program could write bytes that look like
            // frames.
            tty: Some(false),
            network_disabled: Some(true),
            host_config: Some(self.host_config(settings, agent_volume, target_id)),
            ..ContainerCreateBody::default()
        }
    }

    fn guest_arguments(&self, settings: &Settings, target_id: u32) -> Vec<String> {
        let has = |layer| !settings.waived.contains(&layer);
        let mut arguments = ["serve", "--id"].map(str::to_owned).to_vec();
        arguments.push(target_id.to_string());
        if has(Layer::BoundedDisk) {
            arguments.extend(["--disk".to_owned(), self.disk_bytes.to_string()]);
            arguments.extend(["--inodes".to_owned(), self.inodes.to_string()]);
        }
        // gVisor's kernel ignores `oom_score_adj`, and a guest that has the file open shows it to
        // programs.
        if !settings.runtime.is_gvisor() {
            arguments.push("--oom-first".to_owned());
        }
        for (layer, option) in
            [(Layer::Seccomp, "--no-seccomp"), (Layer::Landlock, "--no-landlock")]
        {
            if !has(layer) {
                arguments.push(option.to_owned());
            }
        }
        arguments
    }

    fn host_config(&self, settings: &Settings, agent_volume: &str, target_id: u32) -> HostConfig {
        let has = |layer| !settings.waived.contains(&layer);
        let memory = has(Layer::MemoryCgroup).then(|| signed(self.memory_bytes));
        HostConfig {
            memory,
            // The same value as for memory alone: no swap.
            memory_swap: memory,
            pids_limit: has(Layer::PidsCgroup).then(|| signed(self.pids_limit(settings))),
            readonly_rootfs: Some(has(Layer::ReadOnlyRoot)),
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: has(Layer::CgroupNamespace)
                .then_some(HostConfigCgroupnsModeEnum::PRIVATE),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
            security_opt: Some(security_options(settings)),
            tmpfs: Some(self.tmpfs(settings, target_id)),
            volumes_from: Some(vec![format!("{agent_volume}:ro")]),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            runtime: settings.runtime.name().map(str::to_owned),
            privileged: Some(false),
            auto_remove: Some(false),
            init: Some(false),
            device_requests: (!settings.devices.is_empty())
                .then(|| settings.devices.iter().map(DeviceRequest::to_model).collect()),
            cgroup_parent: settings.cgroup_parent.clone(),
            ..HostConfig::default()
        }
    }

    /// Returns the writable mounts. Each has the limit of all of them together, and the guest adds
    /// them up (ADR 0022).
    fn tmpfs(&self, settings: &Settings, target_id: u32) -> HashMap<String, String> {
        let bounds = if settings.waived.contains(&Layer::BoundedDisk) {
            String::new()
        } else {
            format!(",size={},nr_inodes={}", self.disk_bytes, self.inodes.saturating_add(1))
        };
        let mount = |exec: &str, mode: &str| format!("rw,{exec},nosuid,nodev{bounds},mode={mode}");
        HashMap::from([
            (
                "/box".to_owned(),
                format!("{},uid={target_id},gid={target_id}", mount("exec", "0755")),
            ),
            ("/tmp".to_owned(), mount("exec", "1777")),
            ("/dev/shm".to_owned(), mount("noexec", "1777")),
        ])
    }
}

fn security_options(settings: &Settings) -> Vec<String> {
    let mut options = vec!["no-new-privileges".to_owned()];
    if settings.waived.contains(&Layer::Seccomp) {
        options.push("seccomp=unconfined".to_owned());
    }
    options
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
