//! The conditions under which a guest starts targets.

use core::ffi::CStr;

use super::oom_score::OomScore;

/// The directory and the user id of targets.
pub(crate) struct TargetContext {
    /// The working directory of commands, and the root of all file requests.
    pub(crate) directory: &'static CStr,
    /// Whether guest and target share one user id.
    pub(crate) single_id: bool,
    /// The target's user and group id; `None` if the guest has no privileges to drop.
    pub(crate) target_id: Option<u32>,
    /// Whether the file system of `directory` has a size limit, so that its free space is reported.
    pub(crate) bounded: bool,
    /// The way in which targets get a higher OOM score than the guest; `None` if they do not.
    pub(crate) oom_score: Option<OomScore>,
    /// Whether the guest's capabilities are sealed. Every target inherits that.
    pub(crate) sealed: bool,
}
