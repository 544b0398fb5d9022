//! What a container is like: everything that is settled when it is made. Two sandboxes with the same policy can use the same
//! kind of warm container.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use crucible_core::{Layer, Limits};

use crate::config::Settings;

/// Where the guest program is in a container.
pub(crate) const GUEST_DIRECTORY: &str = "/.crucible";
/// What the guest is started with: to become the target's user and to end it, to put and read files whoever they belong to, and
/// to give up what it does not need.
pub(crate) const CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETPCAP", "SETUID"];
/// gVisor's own threads count as processes of the container on the host.
const GVISOR_PROCESSES: u64 = 1024;

/// Everything about a container that is settled when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Policy {
    pub(crate) image: String,
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u32,
    pub(crate) disk_bytes: u64,
    pub(crate) inodes: u64,
}

impl Policy {
    pub(crate) fn new(image: String, limits: &Limits) -> Self {
        Self {
            image,
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            disk_bytes: limits.disk_bytes,
            inodes: limits.inodes,
        }
    }

    /// The most processes that the daemon is to allow: the guest is one of them.
    pub(crate) fn pids_limit(&self, settings: &Settings) -> u64 {
        let processes = u64::from(self.processes) + 1;
        if settings.runtime.counts_own_threads() { processes + GVISOR_PROCESSES } else { processes }
    }

    /// What the daemon is asked for.
    pub(crate) fn body(
        &self,
        settings: &Settings,
        carrier: &str,
        target_id: u32,
        labels: HashMap<String, String>,
    ) -> ContainerCreateBody {
        let has = |layer| !settings.waived.contains(&layer);
        let mut command = ["serve", "--id"].map(str::to_owned).to_vec();
        command.push(target_id.to_string());
        if has(Layer::BoundedDisk) {
            command.extend(["--disk".to_owned(), self.disk_bytes.to_string()]);
            command.extend(["--inodes".to_owned(), self.inodes.to_string()]);
        }
        // gVisor has a file of its own for that, which the kernel does not ask; and a guest that has it open shows it to programs.
        if !settings.runtime.is_gvisor() {
            command.push("--oom-first".to_owned());
        }
        for (layer, option) in
            [(Layer::Seccomp, "--no-seccomp"), (Layer::Landlock, "--no-landlock")]
        {
            if !has(layer) {
                command.push(option.to_owned());
            }
        }
        let memory = has(Layer::MemoryCgroup).then(|| signed(self.memory_bytes));
        let host_config = HostConfig {
            memory,
            // As much as memory alone: no swap.
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
            volumes_from: Some(vec![format!("{carrier}:ro")]),
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
                .then(|| settings.devices.iter().map(crate::DeviceRequest::to_model).collect()),
            cgroup_parent: settings.cgroup_parent.clone(),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(self.image.clone()),
            // Whatever the image says of these.
            entrypoint: Some(vec![format!("{GUEST_DIRECTORY}/guest")]),
            cmd: Some(command),
            user: Some("0:0".to_owned()),
            working_dir: Some("/".to_owned()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            env: Some(Vec::new()),
            labels: Some(labels),
            // The guest ends when its input does, and the daemon ends that with the connection of whoever is attached.
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // Never a terminal: programs could write what its decoder takes for frames.
            tty: Some(false),
            network_disabled: Some(true),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        }
    }

    /// The places that can be written to. Each is as large as all of them together may be; the guest adds them up.
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
