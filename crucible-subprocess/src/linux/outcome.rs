//! What was in force.

use crucible_core::{Enforcement, EngineError, Layer, LayerStatus, Limits, UnavailableMechanism};
use crucible_guest_client::{CommandEnd, ProcessStatus};

use super::egress::Proxy;
use super::engine::Inner;

/// `SECCOMP_MODE_FILTER`
const FILTERS: u8 = 2;

/// What was in force: what the kernel said to the command itself right before it was executed, what it says of one of them now and
/// then ([`Word`](super::word::Word)), which was `asked` for this one or not, and what was set up before. A layer of which the kernel says
/// that it is not in force is an error: nothing of the run can be trusted.
pub(super) fn enforcement(
    inner: &Inner,
    (end, asked): (&CommandEnd, bool),
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
    let (Some(status), Some(held)) = (&end.status, end.confinement) else { return Ok(report) };
    // Where nothing is known, nothing holds.
    let status =
        if asked { ProcessStatus::parse(status) } else { inner.word.known().unwrap_or_default() };
    let mut missing = Vec::new();
    let mut hold = |layer, holds: bool, said: String| {
        if !inner.is_waived(layer) && !holds {
            let fix = "report this: the sandbox was set up and is not what it should be";
            missing.push(UnavailableMechanism::new(
                layer,
                format!("the kernel says {said} of the program"),
                fix,
            ));
        }
        note(layer, said);
    };
    hold(
        Layer::NoNewPrivileges,
        held.no_new_privs && status.no_new_privs == Some(true),
        format!("no_new_privs {}", if held.no_new_privs { "set" } else { "not set" }),
    );
    let capabilities = held.capabilities | status.capabilities.unwrap_or(u64::MAX);
    hold(Layer::Capabilities, capabilities == 0, format!("capabilities {capabilities:#x}"));
    let filters = status.seccomp_filters.unwrap_or(0);
    let ours = filters.saturating_sub(inner.host().seccomp_filters);
    let said = format!("{ours} filter, {}", inner.auditor().describe());
    hold(
        Layer::Seccomp,
        held.seccomp == FILTERS && status.seccomp == Some(FILTERS.into()) && ours > 0,
        said,
    );
    hold(
        Layer::PidNamespace,
        status.pid_namespaces == Some(1),
        status
            .pid_namespaces
            .map_or_else(|| "unknown".to_owned(), |depth| format!("{depth} level inside")),
    );
    if !missing.is_empty() {
        return Err(EngineError::LayerUnavailable { missing });
    }
    if asked {
        inner.word.note(status);
    }
    Ok(report)
}
