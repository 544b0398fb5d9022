//! The key to the calls that set sandboxes up: the seccomp filter refuses them to whoever does not pass it along.
//!
//! It is passed as the sixth argument, which the kernel ignores in calls that have fewer, and a filter sees.

use core::sync::atomic::{AtomicU64, Ordering};

use super::machine::{nr, syscall};
use super::{Fd, check, read, write};
use crate::agent::errno::{Errno, Result};

/// 0: there is no key, because there is no filter yet, or because it has been forgotten.
static KEY: AtomicU64 = AtomicU64::new(0);

/// The key, for the calls that need it.
pub(super) fn key() -> usize {
    super::wide(KEY.load(Ordering::Relaxed))
}

/// Makes a key that nobody can guess (getrandom(2)).
pub(crate) fn make_key() -> Result<u64> {
    loop {
        let mut bytes = [0_u8; 8];
        // SAFETY: the kernel writes at most as many bytes as the array has.
        let count = check(unsafe {
            syscall(nr::GETRANDOM, [bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0, 0])
        })?;
        let key = u64::from_ne_bytes(bytes);
        // Whoever knows nothing passes 0, or something of 32 bits.
        if count == bytes.len() && key >> 32 != 0 && key & 0xffff_ffff != 0 {
            KEY.store(key, Ordering::Relaxed);
            return Ok(key);
        }
    }
}

/// Forgets the key: from now on the filter refuses us what it refuses everybody.
pub(crate) fn forget_key() {
    KEY.store(0, Ordering::Relaxed);
}

/// Puts the key where whoever shares our memory, and not our descriptors, cannot find it: into a pipe.
pub(crate) fn hide_key(pipe_end: Fd) -> Result<()> {
    let bytes = KEY.load(Ordering::Relaxed).to_ne_bytes();
    if write(pipe_end, &bytes)? == bytes.len() { Ok(()) } else { Err(Errno::INVAL) }
}

/// Takes the key from the pipe again.
pub(crate) fn recall_key(pipe_end: Fd) -> Result<()> {
    let mut bytes = [0; 8];
    if read(pipe_end, &mut bytes)? != bytes.len() {
        return Err(Errno::INVAL);
    }
    KEY.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    Ok(())
}
