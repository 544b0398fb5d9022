//! A description of the machine.

use std::fs;

/// Returns one paragraph that describes the machine.
pub(crate) fn describe() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cpu_info = file("/proc/cpuinfo");
    let model = field(&cpu_info, "model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let is_virtual =
        cpu_info.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    let memory = field(&file("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory.and_then(|memory| memory.split(' ').next()?.parse().ok()).unwrap_or(0);
    let kernel = file("/proc/sys/kernel/osrelease");
    let cgroups =
        if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) { "2" } else { "1" };
    let load = file("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "{cpus} CPUs ({model}{}), {} GiB of memory, Linux {}, cgroup version {cgroups}. The load was {load} at the start.",
        if is_virtual { ", in a virtual machine" } else { "" },
        kib.div_ceil(1024 * 1024),
        kernel.trim().split('-').next().unwrap_or_default()
    )
}
