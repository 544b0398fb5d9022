//! The capabilities of guests, and how they are sealed.

use super::sys::{
    self, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID, CAP_SETUID, Errno, Result,
};

/// The capabilities that a guest keeps: to take the target's user id, to kill the target, and to
/// write and read files of any owner.
pub(crate) const GUEST_CAPABILITIES: u64 = 1 << CAP_CHOWN
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_FOWNER
    | 1 << CAP_KILL
    | 1 << CAP_SETGID
    | 1 << CAP_SETUID;
/// `SECBIT_NOROOT`, `NO_CAP_AMBIENT_RAISE`, each with its lock, and the locks of `KEEP_CAPS` and
/// `NO_SETUID_FIXUP` (capabilities(7)): user id 0 has no special meaning, and these bits are final.
const SECUREBITS: usize = 0x01 | 0x02 | 0x08 | 0x20 | 0x40 | 0x80;

/// Empties the bounding set and locks the secure bits. From then on neither this process nor any
/// program that it executes can gain a capability. Requires `CAP_SETPCAP`.
pub(crate) fn seal_capabilities() -> Result<()> {
    for capability in 0..64 {
        match sys::drop_from_bounding_set(capability) {
            Ok(()) => {}
            // The number is past the last capability of this kernel.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    sys::set_securebits(SECUREBITS)
}
