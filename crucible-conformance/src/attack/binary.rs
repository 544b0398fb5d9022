//! The executable that contains all attack programs.

/// The static executable; `None` if the target is not supported.
#[cfg(has_attacks)]
pub(super) const BINARY: Option<&[u8]> = Some(include_bytes!(env!("CRUCIBLE_ATTACKS")));
#[cfg(not(has_attacks))]
pub(super) const BINARY: Option<&[u8]> = None;

/// The file name of the executable in a sandbox.
pub(super) const NAME: &str = "attacks";
