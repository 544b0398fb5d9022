//! The counters of a container's cgroup, as its guest reads them.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// The wire value of a counter that the kernel does not have.
const UNKNOWN: u64 = u64::MAX;

/// The counters and limits of a container's cgroup. A counter that the kernel does not have is
/// `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupCounts {
    /// Processes that the kernel killed because memory ran out.
    pub oom_kills: Option<u64>,
    /// The number of times that the group reached its own memory limit.
    pub memory_limit_hits: Option<u64>,
    /// The number of forks that failed because of the process limit.
    pub forks_refused: Option<u64>,
    /// The highest memory usage.
    pub memory_peak_bytes: Option<u64>,
    /// The highest number of processes and threads, including the guest.
    pub processes_peak: Option<u64>,
    /// CPU time of everything in the cgroup, including the guest.
    pub cpu_us: Option<u64>,
    /// The memory limit.
    pub memory_limit_bytes: Option<u64>,
    /// The limit of processes and threads.
    pub processes_limit: Option<u64>,
}

impl CgroupCounts {
    /// The length on the wire.
    pub(super) const SIZE: usize = 64;

    fn fields(&mut self) -> [&mut Option<u64>; 8] {
        [
            &mut self.oom_kills,
            &mut self.memory_limit_hits,
            &mut self.forks_refused,
            &mut self.memory_peak_bytes,
            &mut self.processes_peak,
            &mut self.cpu_us,
            &mut self.memory_limit_bytes,
            &mut self.processes_limit,
        ]
    }

    /// Writes the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the buffer is too small.
    pub fn encode(mut self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        self.fields().into_iter().try_for_each(|field| writer.u64(field.unwrap_or(UNKNOWN)))
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = WireReader::new(payload);
        let mut counted = Self::default();
        for field in counted.fields() {
            *field = Some(reader.u64()?).filter(|number| *number != UNKNOWN);
        }
        reader.end()?;
        Ok(counted)
    }
}
