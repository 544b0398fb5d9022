//! The policy for sharing slots between tenants.

/// The evaluations that may share a slot, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlotSharing {
    /// All evaluations. A sandbox passes on empty namespaces and its user ids, and nothing else.
    #[default]
    All,
    /// Evaluations of one tenant. For another tenant the slot is ended and a new one is created.
    Tenant,
}
