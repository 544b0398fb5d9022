//! The limits of one command.

use std::time::Duration;

/// The limits of one command.
#[derive(Debug, Clone, Copy)]
pub struct CommandLimits {
    /// Wall time.
    pub wall: Duration,
    /// CPU time.
    pub cpu: Duration,
    /// Bytes of both output streams together.
    pub output_bytes: u64,
}
