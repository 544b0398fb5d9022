//! Refused system calls that matter: attribution to a sandbox, counting, and reporting.

mod ancestry;
mod auditor;
mod violations;

pub(crate) use auditor::Auditor;
pub(crate) use violations::GuestId;
