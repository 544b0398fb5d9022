//! TODO(result)

pub(crate) mod artifact;
pub(crate) mod captured;
pub(crate) mod enforcement;
pub(crate) mod evidence;
pub(crate) mod judge;
pub(crate) mod outcome;
pub(crate) mod usage;
pub(crate) mod verdict;
