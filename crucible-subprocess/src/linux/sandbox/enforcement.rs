//! The report of the layers that were in force for a command.

use crucible_core::{Enforcement, EngineError, Layer, LayerStatus, Limits, UnavailableMechanism};
use crucible_guest_client::{CommandEnd, ProcessStatus};

use super::context::SandboxContext;
use crate::linux::egress::EgressProxy;
use crate::linux::resources::ResourceAllocator;

/// `SECCOMP_MODE_FILTER`
const SECCOMP_FILTER: u8 = 2;

/// Returns the report of the layers that were in force for a command.
///
/// It combines the state that the kernel reported to the command right before execve(2), the last
/// sample of a [`StatusSampler`](super::status_sampler::StatusSampler), and the setup of the
/// sandbox. `is_sampled` is `true` if this command's status was requested.
///
/// # Errors
/// Fails if the kernel reports that a layer was not in force. The result of the run cannot be
/// trusted then.
pub(super) fn enforcement(
    context: &SandboxContext,
    end: &CommandEnd,
    is_sampled: bool,
    limits: &Limits,
    proxy: Option<&EgressProxy>,
) -> Result<Enforcement, EngineError> {
    let mut report = EnforcementReport::new(context);
    report.add_limits(limits, proxy);
    let (Some(status), Some(confinement)) = (&end.status, end.confinement) else {
        return report.finish();
    };
    // Without a sample, no layer counts as enforced.
    let status = if is_sampled {
        ProcessStatus::parse(status)
    } else {
        context.status_sampler.last().unwrap_or_default()
    };
    let no_new_privs = confinement.no_new_privs;
    report.require(
        Layer::NoNewPrivileges,
        no_new_privs && status.no_new_privs == Some(true),
        format!("no_new_privs {}", if no_new_privs { "set" } else { "not set" }),
    );
    let capabilities = confinement.capabilities | status.capabilities.unwrap_or(u64::MAX);
    let detail = format!("capabilities {capabilities:#x}");
    report.require(Layer::Capabilities, capabilities == 0, detail);
    let filters = status.seccomp_filters.unwrap_or(0);
    let own_filters = filters.saturating_sub(context.allocator.host().seccomp_filters);
    report.require(
        Layer::Seccomp,
        confinement.seccomp == SECCOMP_FILTER
            && status.seccomp == Some(SECCOMP_FILTER.into())
            && own_filters > 0,
        format!("{own_filters} filter, {}", context.allocator.auditor().describe()),
    );
    let depth = status.pid_namespaces;
    let detail =
        depth.map_or_else(|| "unknown".to_owned(), |depth| format!("{depth} level inside"));
    report.require(Layer::PidNamespace, depth == Some(1), detail);
    let enforcement = report.finish()?;
    if is_sampled {
        context.status_sampler.record(status);
    }
    Ok(enforcement)
}

/// A report under construction.
struct EnforcementReport<'a> {
    allocator: &'a ResourceAllocator,
    report: Enforcement,
    missing: Vec<UnavailableMechanism>,
}

impl<'a> EnforcementReport<'a> {
    fn new(context: &'a SandboxContext) -> Self {
        Self {
            allocator: &context.allocator,
            report: context.enforcement.clone(),
            missing: Vec::new(),
        }
    }

    /// Adds the details of the layers that enforce limits.
    fn add_limits(&mut self, limits: &Limits, proxy: Option<&EgressProxy>) {
        if let Some(proxy) = proxy {
            self.add(Layer::NetworkNamespace, proxy.describe());
        }
        let disk = format!("{} bytes, {} inodes", limits.disk_bytes, limits.inodes);
        self.add(Layer::BoundedDisk, disk);
        self.add(Layer::Rlimits, format!("{} open files, no core", limits.open_files));
        self.add(Layer::MemoryCgroup, format!("{} bytes, no swap", limits.memory_bytes));
        self.add(Layer::PidsCgroup, format!("{} processes", limits.processes));
    }

    /// Adds the detail of a layer, unless the layer is off.
    fn add(&mut self, layer: Layer, detail: String) {
        if self.report.enforces(layer) {
            let report = std::mem::take(&mut self.report);
            self.report = report.with(layer, LayerStatus::Enforced, detail);
        }
    }

    /// Adds a layer that must be in force unless it was waived.
    fn require(&mut self, layer: Layer, is_enforced: bool, detail: String) {
        if !self.allocator.is_waived(layer) && !is_enforced {
            self.missing.push(UnavailableMechanism::new(
                layer,
                format!("the kernel reports {detail} for the program"),
                "report this as a bug: the sandbox was set up with this layer",
            ));
        }
        self.add(layer, detail);
    }

    fn finish(self) -> Result<Enforcement, EngineError> {
        if self.missing.is_empty() {
            Ok(self.report)
        } else {
            Err(EngineError::LayerUnavailable { missing: self.missing })
        }
    }
}
