//! The programs.

/// The static program that all attacks are in; `None` where it cannot be built.
#[cfg(has_attacks)]
pub(super) const BINARY: Option<&[u8]> = Some(include_bytes!(env!("CRUCIBLE_ATTACKS")));
#[cfg(not(has_attacks))]
pub(super) const BINARY: Option<&[u8]> = None;

/// Its name in a sandbox.
pub(super) const NAME: &str = "attacks";
