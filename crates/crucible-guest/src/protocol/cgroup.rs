//! What the cgroup of a container has counted, as its guest sees it.

use super::codec::{Malformed, Overflow, WireReader, WireWriter};

/// On the wire: nobody has counted it.
const UNKNOWN: u64 = u64::MAX;

/// What the cgroup of a container has counted, and its limits. What nobody has counted is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupCounts {
    /// Processes that the kernel killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// How often the group ran into its own memory limit.
    pub memory_limit_hits: Option<u64>,
    /// How often a fork was refused because there were as many processes as there may be.
    pub forks_refused: Option<u64>,
    /// The most memory that was in use at once.
    pub memory_peak_bytes: Option<u64>,
    /// The most processes and threads that there were at once, the guest included.
    pub processes_peak: Option<u64>,
    /// CPU time of everything in it, the guest included.
    pub cpu_us: Option<u64>,
    /// The limit on memory.
    pub memory_limit_bytes: Option<u64>,
    /// The limit on processes and threads.
    pub processes_limit: Option<u64>,
}

impl CgroupCounts {
    /// How long it is on the wire.
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
    /// There is no room.
    pub fn encode(mut self, writer: &mut WireWriter<'_>) -> Result<(), Overflow> {
        self.fields().into_iter().try_for_each(|field| writer.u64(field.unwrap_or(UNKNOWN)))
    }

    /// Reads the reply.
    ///
    /// # Errors
    /// It is malformed.
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
