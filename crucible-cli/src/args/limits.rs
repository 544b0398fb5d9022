//! The limits of a program.

use std::time::Duration;

use crucible::Limits;

use crate::format::{parse_duration, parse_size};

/// Limits that replace the defaults.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LimitArgs {
    /// Wall-clock time, such as 5s or 1min.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Limits")]
    wall: Option<Duration>,
    /// CPU time of the whole process tree.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Limits")]
    cpu: Option<Duration>,
    /// Memory of the whole process tree, such as 128MiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    memory: Option<u64>,
    /// Processes and threads at the same time.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    processes: Option<u32>,
    /// Bytes of output, both streams together.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    output: Option<u64>,
    /// Bytes in all writable directories.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    disk: Option<u64>,
    /// Files and directories in all writable directories.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    inodes: Option<u64>,
    /// Open files of each process.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    open_files: Option<u32>,
}

impl LimitArgs {
    /// Returns the default limits with the given ones in their places.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::new();
        limits.wall = self.wall.unwrap_or(limits.wall);
        // The default CPU limit would end a program before a longer wall limit does.
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
