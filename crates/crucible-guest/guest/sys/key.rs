//! The key for the system calls that set sandboxes up. The seccomp filter refuses them to callers
//! that do not pass it.
//!
//! The key is the sixth argument. The kernel ignores it in calls with fewer arguments, and a filter
//! can read it.

use core::sync::atomic::{AtomicU64, Ordering};

use super::errno::{Errno, Result};
use super::machine::{nr, syscall};
use super::{Fd, check, read, write};

/// The key. 0 means that there is no filter yet, or that the process has erased the key.
static KEY: AtomicU64 = AtomicU64::new(0);

/// Returns the key for the calls that need it.
pub(super) fn key() -> usize {
    super::wide(KEY.load(Ordering::Relaxed))
}

/// Creates an unpredictable key (getrandom(2)).
pub(crate) fn generate_key() -> Result<u64> {
    loop {
        let mut bytes = [0_u8; 8];
        // SAFETY: the kernel writes at most as many bytes as the array has.
        let count = check(unsafe {
            syscall(nr::GETRANDOM, [bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0, 0])
        })?;
        let key = u64::from_ne_bytes(bytes);
        // A caller without the key may pass 0 or a number of 32 bits by chance.
        if count == bytes.len() && key >> 32 != 0 && key & 0xffff_ffff != 0 {
            KEY.store(key, Ordering::Relaxed);
            return Ok(key);
        }
    }
}

/// Erases the key. From now on the filter refuses the keyed calls to this process too.
pub(crate) fn erase_key() {
    KEY.store(0, Ordering::Relaxed);
}

/// Stores the key in a pipe. A process that shares this memory, but not the descriptors, cannot
/// read it.
pub(crate) fn store_key_in_pipe(pipe_end: Fd) -> Result<()> {
    let bytes = KEY.load(Ordering::Relaxed).to_ne_bytes();
    if write(pipe_end, &bytes)? == bytes.len() { Ok(()) } else { Err(Errno::INVAL) }
}

/// Reads the key from the pipe.
pub(crate) fn load_key_from_pipe(pipe_end: Fd) -> Result<()> {
    let mut bytes = [0; 8];
    if read(pipe_end, &mut bytes)? != bytes.len() {
        return Err(Errno::INVAL);
    }
    KEY.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    Ok(())
}
