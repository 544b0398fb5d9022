//! What was in force.

use crucible_core::{Enforcement, EngineError, Layer, LayerStatus, Limits, MissingLayer};
use crucible_link::{End, Status};

use super::egress::Proxy;
use super::engine::Inner;

/// What was in force: what the kernel said of the command itself right after it was executed, and what was set up before
/// it. A layer of which the kernel says that it is not in force is an error: nothing of the run can be trusted.
pub(super) fn enforcement(
    inner: &Inner,
    end: &End,
    limits: &Limits,
    proxy: Option<&Proxy>,
) -> Result<Enforcement, EngineError> {
    let mut report = inner.info.enforcement.clone();
    let mut note = |layer, detail: String| {
        if report.enforces(layer) {
            report = std::mem::take(&mut report).with(layer, LayerStatus::Enforced, detail);
        }
    };
    if let Some(proxy) = proxy {
        note(Layer::NetworkNamespace, proxy.describe());
    }
    note(Layer::BoundedDisk, format!("{} bytes, {} inodes", limits.disk_bytes, limits.inodes));
    note(Layer::Rlimits, format!("{} open files, no core", limits.open_files));
    note(Layer::MemoryCgroup, format!("{} bytes, no swap", limits.memory_bytes));
    note(Layer::PidsCgroup, format!("{} processes", limits.processes));
    let Some(status) = &end.status else { return Ok(report) };
    let status = Status::parse(status);
    let mut missing = Vec::new();
    let mut hold = |layer, holds: bool, said: String| {
        if !inner.is_waived(layer) && !holds {
            let fix = "report this: the sandbox was set up and is not what it should be";
            missing.push(MissingLayer::new(layer, format!("the kernel says {said} of the program"), fix));
        }
        note(layer, said);
    };
    hold(
        Layer::NoNewPrivileges,
        status.no_new_privs == Some(true),
        format!(
            "no_new_privs {}",
            status.no_new_privs.map_or("unknown", |set| if set { "set" } else { "not set" })
        ),
    );
    let capabilities = status.capabilities.unwrap_or(u64::MAX);
    hold(Layer::Capabilities, capabilities == 0, format!("capabilities {capabilities:#x}"));
    let filters = status.seccomp_filters.unwrap_or(0);
    let ours = filters.saturating_sub(inner.host().seccomp_filters);
    let said = format!("{ours} filter, {}", inner.auditor().describe());
    hold(Layer::Seccomp, status.seccomp == Some(2) && ours > 0, said);
    hold(
        Layer::PidNamespace,
        status.pid_namespaces == Some(1),
        status.pid_namespaces.map_or_else(|| "unknown".to_owned(), |depth| format!("{depth} level inside")),
    );
    if missing.is_empty() { Ok(report) } else { Err(EngineError::LayerUnavailable { missing }) }
}
