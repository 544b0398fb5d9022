//! What examples that run programs share: limits on the command line, what was used in a line.

use std::time::Duration;

use crucible::{Limits, Usage};

/// Limits from the command line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LimitArgs {
    /// Time by the clock, such as 5s or 1min.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Limits")]
    pub(crate) wall: Option<Duration>,
    /// CPU time of the whole tree.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Limits")]
    pub(crate) cpu: Option<Duration>,
    /// Memory of the whole tree, such as 128MiB.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) memory: Option<u64>,
    /// Processes and threads at once.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(crate) processes: Option<u32>,
    /// Bytes of output, both streams together.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) output: Option<u64>,
    /// Bytes in all places that can be written to.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) disk: Option<u64>,
    /// Files and directories in all places that can be written to.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(crate) inodes: Option<u64>,
    /// Open files of each process.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(crate) open_files: Option<u32>,
}

impl LimitArgs {
    /// The defaults, but for what was given.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::new();
        limits.wall = self.wall.unwrap_or(limits.wall);
        // A longer wall limit alone would be cut short by the default CPU limit.
        limits.cpu = self.cpu.unwrap_or_else(|| limits.cpu.max(self.wall.unwrap_or_default() / 2));
        limits.memory_bytes = self.memory.unwrap_or(limits.memory_bytes);
        limits.processes = self.processes.unwrap_or(limits.processes);
        limits.output_bytes = self.output.unwrap_or(limits.output_bytes);
        limits.disk_bytes = self.disk.unwrap_or(limits.disk_bytes);
        limits.inodes = self.inodes.unwrap_or(limits.inodes);
        limits.open_files = self.open_files.unwrap_or(limits.open_files);
        limits
    }
}

/// A duration with a unit; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; say `5s`, `500ms` or `2min`"))
}

/// A size with a unit; a bare number is bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text
        .parse()
        .map_err(|error| format!("{error}; say `128MiB`, `64KiB` or a number of bytes"))?;
    Ok(size.as_u64())
}

/// What a run used, in a line.
pub(crate) fn usage_line(usage: &Usage, output_bytes: u64) -> String {
    let mut parts =
        vec![format!("wall {}", short(usage.wall)), format!("cpu {}", short(usage.cpu()))];
    if let Some(bytes) = usage.memory_peak_bytes {
        parts.push(format!("memory {}", bytesize::ByteSize(bytes).display().iec()));
    }
    if let Some(count) = usage.processes_peak {
        parts.push(format!("processes {count}"));
    }
    parts.push(format!("output {}", bytesize::ByteSize(output_bytes).display().iec()));
    parts.push(format!("setup {}", short(usage.setup)));
    parts.join(", ")
}

/// A duration with three digits.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.0} us", seconds * 1e6)
    }
}
