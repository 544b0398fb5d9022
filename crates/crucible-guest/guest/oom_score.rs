//! The OOM score of targets in a container.
//!
//! When the memory of a container runs out, the kernel kills the process with the highest score.
//! That must be the program and not the guest, because the guest reports the kill. The daemon does
//! not report each of them.

use super::sys::{self, Errno, Fd, O_CLOEXEC, O_WRONLY, Result, retry};

/// The score of targets. It adds half of all memory to what the process uses, so that the kernel
/// selects it before the guest (proc_pid_oom_score_adj(5)). A process needs no privilege to raise
/// its score, or to lower it again to the value that it started with.
const TARGET_SCORE: &[u8] = b"500";
const SCORE_FILE: &core::ffi::CStr = c"/proc/self/oom_score_adj";
const O_RDWR: i32 = 2;

/// The way in which a target gets its score. Each costs two system calls for each target. If a call
/// fails, the target has the guest's score, and the kernel selects by size, which is its default.
pub(crate) enum OomScore {
    /// The child raises its own score, between clone(2) and execve(2). The kernel applies that to
    /// the child alone, although it shares the guest's memory: `__set_oom_adj` in `fs/proc/base.c`
    /// treats children of `CLONE_VFORK` separately.
    SetByChild,
    /// The child inherits the score from the guest, because the Landlock domain refuses to open the
    /// file for writing. The guest raises its own score right before clone(2), and the child's
    /// first action restores it. So the guest has the target's score during clone(2) alone, and the
    /// program never runs meanwhile.
    Inherited(GuestScore),
}

/// The guest's own `oom_score_adj`. The descriptor refers to the guest, whichever process writes to
/// it.
pub(crate) struct GuestScore {
    file: Fd,
    own: [u8; 8],
    own_length: usize,
}

impl GuestScore {
    /// Opens the guest's file and reads its score. Landlock refuses this later.
    pub(crate) fn open() -> Result<Self> {
        let file = sys::open(SCORE_FILE, O_RDWR | O_CLOEXEC, 0)?;
        let mut own = [0; 8];
        match retry(|| sys::read(file, &mut own)) {
            Ok(own_length @ 1..) => Ok(Self { file, own, own_length }),
            Ok(_) => Err(Errno::INVAL),
            Err(error) => Err(error),
        }
    }

    fn raise(&self) -> Result<()> {
        sys::write(self.file, TARGET_SCORE).map(drop)
    }

    /// Writes the guest's own score. A child of `CLONE_VFORK` keeps the score that it inherited:
    /// since Linux 5.10, and so since Landlock, the kernel copies a write only to processes that
    /// were cloned with `CLONE_VM` and without `CLONE_VFORK` (`copy_oom_score_adj` in
    /// `kernel/fork.c`).
    fn restore(&self) -> Result<()> {
        sys::write(self.file, self.own.get(..self.own_length).unwrap_or_default()).map(drop)
    }
}

impl OomScore {
    /// Selects the way that the guest's Landlock domain permits.
    pub(crate) fn new(guest_score: GuestScore, has_landlock: bool) -> Self {
        if has_landlock {
            return Self::Inherited(guest_score);
        }
        sys::close(guest_score.file);
        Self::SetByChild
    }

    /// Prepares the guest for clone(2). Returns `true` if the guest has the target's score until
    /// [`OomScore::apply_in_child`] or [`OomScore::restore_guest`].
    pub(crate) fn prepare_guest(&self) -> bool {
        match self {
            Self::SetByChild => false,
            Self::Inherited(guest_score) => guest_score.raise().is_ok(),
        }
    }

    /// Gives the calling child its score, and the guest its own. `guest_is_raised` is what
    /// [`OomScore::prepare_guest`] returned. Returns `true` if the guest still has the target's
    /// score.
    pub(crate) fn apply_in_child(&self, guest_is_raised: bool) -> bool {
        match self {
            Self::SetByChild => {
                if let Ok(file) = sys::open(SCORE_FILE, O_WRONLY | O_CLOEXEC, 0) {
                    // The child closes all its descriptors before it executes the program.
                    let _default_on_error = sys::write(file, TARGET_SCORE);
                }
                false
            }
            Self::Inherited(guest_score) => guest_is_raised && guest_score.restore().is_err(),
        }
    }

    /// Restores the guest's score after a clone(2) that failed, or whose child was killed too
    /// early.
    pub(crate) fn restore_guest(&self) {
        if let Self::Inherited(guest_score) = self {
            let _default_on_error = guest_score.restore();
        }
    }
}
