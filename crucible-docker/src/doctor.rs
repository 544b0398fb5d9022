//! The report of a daemon's layers and known defects.

use bollard::models::SystemVersion;
use crucible_core::{EngineError, HostReport, Layer, LayerStatus, error_chain};

use crate::connection::Daemon;
use crate::docker_builder::DockerBuilder;

/// A known defect, with the first fixed version of each maintained release line.
struct Defect {
    component: &'static str,
    fixed: &'static [&'static [u64]],
    description: &'static str,
}

/// Defects that let a container attack its host. Docker's defects in copying out of a running
/// container are omitted: the engine never does that.
const DEFECTS: [Defect; 3] = [
    Defect {
        component: "runc",
        fixed: &[&[1, 1, 12]],
        description: "CVE-2024-21626: a container can begin in a directory of the host",
    },
    Defect {
        component: "runc",
        fixed: &[&[1, 2, 8], &[1, 3, 3], &[1, 4, 0]],
        description: "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: \
                      writes to /proc can be redirected while a container starts",
    },
    Defect {
        component: "Engine",
        fixed: &[&[29, 5, 1]],
        description: "CVE-2026-41567: a compressed archive runs a program of the container \
                      as root of the host (this engine sends none)",
    },
];

/// Connects to the daemon, starts a container, and returns a report: one line per layer, the
/// versions, and their known defects.
pub async fn doctor(builder: DockerBuilder) -> HostReport {
    let settings = builder.settings().clone();
    let name = settings.runtime.engine_name();
    let mut report = HostReport::new(name);
    match Daemon::connect(settings.clone()).await {
        Ok((daemon, version)) => report = describe(report, &daemon, &version),
        Err(error) => return report.with_fact("daemon", error_chain(&error)),
    }
    match builder.build().await {
        Ok(engine) => {
            let info = crucible_core::Engine::info(&engine);
            for line in info.enforcement.reports() {
                report = match line.status {
                    LayerStatus::Enforced => report.with_available(line.layer, line.detail.clone()),
                    LayerStatus::Waived => {
                        report.with_missing(line.layer, "waived", "do not waive it")
                    }
                    _ => {
                        report.with_missing(line.layer, line.detail.clone(), "use another runtime")
                    }
                };
            }
            for layer in Layer::ALL
                .iter()
                .filter(|layer| info.enforcement.reports().iter().all(|l| l.layer != **layer))
            {
                report = report.with_missing(*layer, reason(*layer), fix(*layer));
            }
            engine.close().await;
            report
        }
        Err(error) => with_build_error(report, &error),
    }
}

fn describe(report: HostReport, daemon: &Daemon, version: &SystemVersion) -> HostReport {
    let unknown = || "?".to_owned();
    let mut report = report
        .with_fact("daemon", daemon.address.clone())
        .with_fact("version", version.version.clone().unwrap_or_else(unknown))
        .with_fact("API", version.api_version.clone().unwrap_or_else(unknown))
        .with_fact("kernel", version.kernel_version.clone().unwrap_or_else(unknown))
        .with_fact("runtime", daemon.settings.runtime.to_string());
    for (component, version) in components(version) {
        if component != "Engine" {
            report = report.with_fact(component.clone(), version.clone());
        }
        for Defect { fixed, description, .. } in
            DEFECTS.iter().filter(|defect| defect.component == component)
        {
            if is_before(&version, fixed) {
                let least: Vec<_> = fixed.iter().map(|version| dotted(version)).collect();
                let what = format!(
                    "{description}; fixed in {}, or by your distribution",
                    least.join(", ")
                );
                report = report.with_fact(format!("{component} {version} may have"), what);
            }
        }
    }
    report
}

fn components(version: &SystemVersion) -> Vec<(String, String)> {
    let parts = version.components.iter().flatten();
    parts.map(|part| (part.name.clone(), part.version.clone())).collect()
}

fn dotted(version: &[u64]) -> String {
    version.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// Returns `true` if a version is older than the fixed version of its release line. Release lines
/// newer than all listed ones contain the fix.
fn is_before(version: &str, fixed: &[&[u64]]) -> bool {
    let numbers: Vec<u64> = version
        .trim_start_matches('v')
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse().ok())
        .take(3)
        .collect();
    if numbers.is_empty() {
        return false;
    }
    let line = numbers.get(..2).unwrap_or(&numbers);
    match fixed.iter().find(|least| least.starts_with(line)) {
        Some(least) => numbers.as_slice() < *least,
        // An unlisted release line is older or newer than all listed ones.
        None => fixed.iter().all(|least| numbers.as_slice() < *least),
    }
}

fn reason(layer: Layer) -> &'static str {
    match layer {
        Layer::UserNamespace => "ids in the container are the host's",
        Layer::Landlock => "the kernel does not have it, or the daemon's seccomp filter refuses it",
        Layer::CpuCgroup => {
            "the container does not see its cgroup: CPU time is the sum over its processes"
        }
        _ => "a container does not have it",
    }
}

fn fix(layer: Layer) -> &'static str {
    match layer {
        Layer::UserNamespace => {
            "set `userns-remap` in the daemon's configuration, or run it rootless"
        }
        Layer::Landlock => "use Linux 5.13 or later, and a newer daemon",
        _ => "use another runtime",
    }
}

fn with_build_error(report: HostReport, error: &EngineError) -> HostReport {
    let report = report.with_fact("cannot start a container", error_chain(error));
    let EngineError::LayerUnavailable { missing } = error else { return report };
    missing.iter().fold(report, |report, missing| {
        report.with_missing(missing.layer, missing.reason.clone(), missing.fix.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_compared_within_its_release_line() {
        let fixed: &[&[u64]] = &[&[1, 2, 8], &[1, 3, 3], &[1, 4, 0]];
        for (version, before) in [
            ("1.1.5+ds1", true),
            ("1.2.7", true),
            ("1.2.8", false),
            ("1.3.0-rc.1", true),
            ("1.3.3", false),
            ("v1.4.1", false),
            ("1.5.0", false),
            ("2.0.0", false),
            ("unknown", false),
        ] {
            assert_eq!(is_before(version, fixed), before, "{version}");
        }
        assert!(is_before("20.10.24+dfsg1", &[&[29, 5, 1]]));
    }
}
