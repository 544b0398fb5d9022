//! The guest program in sealed memory.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use crucible_core::EngineError;
use crucible_guest_client::errors::setup;
use rustix::fs::{MemfdFlags, SealFlags};

/// Copies the guest program into memory that no process can change (memfd_create(2)).
pub(super) fn sealed_program() -> Result<OwnedFd, EngineError> {
    let binary = crucible_guest::BINARY.ok_or_else(|| EngineError::Unsupported {
        engine: crate::ENGINE_NAME.to_owned(),
        what: "this platform: it has no guest program for it".to_owned(),
    })?;
    seal(binary).map_err(|error| setup("copy the guest program into memory", error))
}

fn seal(binary: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag, and make every memory file executable.
    let program = rustix::fs::memfd_create(c"crucible-guest", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(c"crucible-guest", flags))?;
    let mut file = File::from(program);
    file.write_all(binary)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    // The kernel does not execute a file that is open for writing. A read-only descriptor replaces
    // the writable one.
    let read_only = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(read_only.into())
}
